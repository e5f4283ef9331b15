-- error: line 5, column 12
-- error: 'user.name' is not a JSON path
CREATE TABLE events (id BIGINT, doc JSONB)
WITH (connector = 'single_file', path = 'inputs/documents.jsonl', format = 'json');
SELECT id, json_value(doc, 'user.name') AS name FROM events;
