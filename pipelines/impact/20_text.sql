-- The impact pipeline, 3 of 6: free text.
--
-- normalize -> screen (personal data out, harm flagged) -> classify (scores and spans) over every free text. Only what
-- screen() returns is classified, stored and pointed into, so a span always fits the stored text. A text that is blocked
-- is neither classified nor stored.

CREATE VIEW raw_texts AS
SELECT _id || ':feedback_text' AS text_id, _id AS event_id, _company_id AS company_id, 'buddy_feedback' AS text_type,
       match_id AS pair_id, CASE from_role WHEN 'participant' THEN 'participant' ELSE 'volunteer' END AS author_role,
       CAST(NULL AS TEXT) AS author_id, submitted_at AS created_at, _position AS source_ref, feedback_text AS text
FROM feedback WHERE feedback_text IS NOT NULL
UNION ALL
SELECT _id || ':feedback_text', _id, _company_id, 'kintell_feedback', session_id, from_role, CAST(NULL AS TEXT), created_at,
       _position, feedback_text
FROM ratings WHERE feedback_text IS NOT NULL
UNION ALL
SELECT _id || ':notes', _id, _company_id, 'checkin_note', match_id, 'participant', CAST(NULL AS TEXT), checkin_date, _position,
       notes
FROM checkins WHERE notes IS NOT NULL
UNION ALL
SELECT _id || ':learner_comment', _id, _company_id, 'skill_share_comment', match_id, CAST(NULL AS TEXT), learner_id, completed_at,
       _position, feedback['learner_comment']
FROM skill_shares WHERE feedback['learner_comment'] IS NOT NULL
UNION ALL
SELECT _id || ':teacher_comment', _id, _company_id, 'skill_share_comment', match_id, CAST(NULL AS TEXT), teacher_id, completed_at,
       _position, feedback['teacher_comment']
FROM skill_shares WHERE feedback['teacher_comment'] IS NOT NULL;

CREATE VIEW screened_texts AS
SELECT text_id, event_id, company_id, text_type, pair_id, author_role, author_id, created_at, source_ref,
       s['decision'] AS decision, s['findings'] AS findings, s['categories'] AS categories,
       CASE WHEN s['decision'] <> 'block' THEN s['text'] END AS text
FROM (SELECT *, screen(normalize(text)) AS s FROM raw_texts) AS screened;

CREATE VIEW classified_texts AS
SELECT text_id, event_id, company_id, text_type, pair_id, author_role, author_id, created_at, source_ref, decision, text,
       coalesce(c['language'], 'unknown') AS language, c['abstained'] AS abstained, c['method'] AS method, c['model_version'] AS model_version,
       c['labels'] AS labels, c['scores'] AS scores
FROM (SELECT *, classify(text) AS c FROM screened_texts) AS classified;

-- Who wrote it: named by the event itself, or by its match or session together with the role.
CREATE VIEW authored_texts AS
SELECT t.text_id, t.event_id, t.company_id, t.text_type, t.created_at, t.source_ref, t.decision, t.text, t.language, t.abstained,
       t.method, t.model_version, t.labels, t.scores,
       coalesce(t.author_id, CASE t.author_role WHEN 'participant' THEN p.participant_id ELSE p.volunteer_id END) AS user_id,
       coalesce(t.author_role, CASE WHEN t.author_id = p.volunteer_id THEN 'volunteer' ELSE 'participant' END) AS author_role
FROM classified_texts t
LEFT JOIN pairs p ON p.pair_id = t.pair_id;

CREATE TABLE texts (
    text_id TEXT, event_id TEXT, company_id TEXT, user_id TEXT, author_role TEXT, text_type TEXT, created_at TIMESTAMP,
    text TEXT, decision TEXT, language TEXT, abstained BOOLEAN, method TEXT, model_version TEXT,
    PRIMARY KEY (text_id)
) WITH (connector = 'sqlite', path = '${store}', on_start = 'replace');
INSERT INTO texts
SELECT text_id, event_id, company_id, user_id, author_role, text_type, created_at, text, decision, language, abstained, method,
       model_version
FROM authored_texts;

-- One row for each text and dimension. No confidence: none has been measured.
CREATE VIEW scores AS
SELECT text_id, entry['dimension'] AS dimension, event_id, company_id, user_id, author_role, text_type,
       entry['score'] AS score, abstained, method, model_version, language, created_at
FROM (
    SELECT text_id, event_id, company_id, user_id, author_role, text_type, abstained, method, model_version, language,
           created_at, unnest(scores) AS entry
    FROM authored_texts
    WHERE company_id IS NOT NULL
) AS unnested;

CREATE TABLE outcome_scores (
    text_id TEXT, dimension TEXT, event_id TEXT, company_id TEXT, user_id TEXT, author_role TEXT, text_type TEXT,
    score DECIMAL(4, 3), abstained BOOLEAN, method TEXT, model_version TEXT, language TEXT, created_at TIMESTAMP,
    PRIMARY KEY (text_id, dimension)
) WITH (connector = 'sqlite', path = '${store}', on_start = 'replace');
INSERT INTO outcome_scores
SELECT text_id, dimension, event_id, company_id, user_id, author_role, text_type, score, abstained, method, model_version,
       language, created_at
FROM scores;

-- One row for each span. The id names company, text, label and place.
CREATE VIEW evidence AS
SELECT company_id, text_id, event_id, user_id, author_role, text_type, label['label'] AS label, label['start'] AS position_start,
       label['end'] AS position_end, label['snippet'] AS snippet_text, source_ref, created_at
FROM (
    SELECT company_id, text_id, event_id, user_id, author_role, text_type, source_ref, created_at, unnest(labels) AS label
    FROM authored_texts
    WHERE company_id IS NOT NULL
) AS unnested;

CREATE TABLE evidence_snippets (
    evidence_id TEXT, company_id TEXT, snippet_hash TEXT, text_id TEXT, event_id TEXT, user_id TEXT, text_type TEXT,
    label TEXT, position_start INTEGER, position_end INTEGER, snippet_text TEXT, source_ref TEXT, created_at TIMESTAMP,
    PRIMARY KEY (evidence_id)
) WITH (connector = 'sqlite', path = '${store}', on_start = 'replace');
INSERT INTO evidence_snippets
SELECT encode(sha256(company_id || '|' || text_id || '|' || label || '|' || CAST(position_start AS TEXT) || '|'
              || CAST(position_end AS TEXT)), 'hex'),
       company_id, encode(sha256(snippet_text), 'hex'), text_id, event_id, user_id, text_type, label, position_start, position_end,
       snippet_text, source_ref, created_at
FROM evidence;

CREATE TABLE safety_flags (
    text_id TEXT, event_id TEXT, company_id TEXT, content_type TEXT, decision TEXT, requires_human_review BOOLEAN,
    review_status TEXT, categories TEXT, findings TEXT, raised_at TIMESTAMP,
    PRIMARY KEY (text_id)
) WITH (connector = 'sqlite', path = '${store}', on_start = 'replace');
INSERT INTO safety_flags
SELECT text_id, event_id, company_id, text_type, decision, decision IN ('review', 'block'),
       CASE WHEN decision IN ('review', 'block') THEN 'pending' ELSE 'none' END,
       array_to_string(categories, ','), CAST(coalesce(cardinality(findings), 0) AS TEXT), created_at
FROM screened_texts
WHERE decision <> 'allow';
