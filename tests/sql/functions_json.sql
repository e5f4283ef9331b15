-- JSON: by key, by path, containment, lists of elements, documents made of values. Text that is no JSON gives null.
CREATE TABLE events (id BIGINT, doc JSONB)
WITH (connector = 'single_file', path = 'inputs/documents.jsonl', format = 'json');
SELECT id, doc -> 'user' AS json, doc -> 'user' ->> 'name' AS name, doc ->> 'n' AS n, doc #>> '{user,tags,0}' AS tag, doc #> '{user,tags}' AS tags,
    (doc -> 'n')::BIGINT + 1 AS next, CAST(doc -> 'user' -> 'name' AS TEXT) AS plain, doc -> 'items' -> 1 ->> 'sku' AS second,
    doc ? 'n' AS has_n, doc ?| ARRAY['x', 'n'] AS any, doc ?& ARRAY['x', 'n'] AS every,
    doc @> '{"user": {"tags": ["b"]}}' AS holds, '{"n": 1}' <@ doc AS within, doc @? '$.items[*].sku' AS finds
FROM events;
SELECT id, json_value(doc, '$.user.name') AS value, json_value(doc, '$.n' RETURNING BIGINT) AS number, json_query(doc, '$.items[*].sku') AS skus,
    json_exists(doc, '$.items[?@.n > 1]') AS many, extract_json(doc, '$.items[*].n') AS ns, extract_json_string(doc, '$.items[*].sku') AS first,
    json_typeof(doc) AS type, is_json(doc) AS valid, json_length(doc) AS length, json_object_keys(doc) AS keys, get_json_object(doc, '$.user.tags') AS text
FROM events;
SELECT id, item ->> 'sku' AS sku, (item ->> 'n')::INT AS n FROM (SELECT id, unnest(json_array_elements(doc -> 'items')) AS item FROM events);
SELECT id, json_object('id' VALUE id, 'who' VALUE doc -> 'user', 'list' VALUE json_array(id, 'x', NULL)) AS built, json_object('n': id + 1) AS short, doc ->> 'kind' || '!' AS loud, to_json(doc ->> 'n') AS quoted
FROM events WHERE id <= 2;
SELECT id FROM events WHERE doc ->> 'kind' IN ('refund') OR doc ->> 'n' IS NULL AND NOT doc ? 'n' OR doc ->> 'kind' LIKE 'r%';
SELECT doc ->> 'kind' AS kind, count(*) AS n, sum((doc -> 'n')::BIGINT) AS total FROM events GROUP BY doc ->> 'kind';
SELECT id FROM events WHERE doc -> 'user' ->> 'name' = 'Ola' AND (doc ->> 'n')::INT > 0;
