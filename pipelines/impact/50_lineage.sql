-- The impact pipeline, 6 of 6: what the numbers were computed from.
--
-- The facts are stored as they entered the metrics. The view metric_lineage (migrations/0001_impact.sql) joins a metric to
-- them by the same rule by which the metric was computed: company, period and the kinds of fact in metric_inputs. From an
-- event a text and its evidence are reached by text_id: byte offsets into the stored sentence.

CREATE TABLE activities (
    event_id TEXT, company_id TEXT, kind TEXT, occurred_at TIMESTAMP, participant_id TEXT, volunteer_id TEXT,
    volunteer_minutes DECIMAL(14, 4),
    PRIMARY KEY (event_id)
) WITH (connector = 'sqlite', path = '${store}', on_start = 'replace');
INSERT INTO activities
SELECT event_id, company_id, kind, occurred_at, participant_id, volunteer_id, volunteer_minutes FROM activity;

-- Courses and texts are named by their events here, not by the course or the score.
CREATE VIEW standing_events AS
SELECT company_id, user_id, fact, event_id, occurred_at
FROM standing WHERE fact IN ('level', 'match', 'event', 'checkin', 'job', 'job_ready')
UNION ALL
SELECT _company_id, user_id, 'course', _id, updated_at FROM course_progress WHERE _company_id IS NOT NULL
UNION ALL
SELECT _company_id, user_id, 'course', _id, completed_at FROM course_completions WHERE _company_id IS NOT NULL
UNION ALL
SELECT company_id, user_id, 'text', event_id, created_at
FROM authored_texts WHERE company_id IS NOT NULL AND user_id IS NOT NULL AND author_role = 'participant' AND NOT abstained;

CREATE TABLE participant_facts (
    company_id TEXT, user_id TEXT, fact TEXT, event_id TEXT, occurred_at TIMESTAMP,
    PRIMARY KEY (company_id, user_id, fact, event_id)
) WITH (connector = 'sqlite', path = '${store}', on_start = 'replace');
INSERT INTO participant_facts SELECT company_id, user_id, fact, event_id, occurred_at FROM standing_events;

CREATE TABLE valued_outcomes (
    event_id TEXT, outcome TEXT, value_map_id TEXT, company_id TEXT, user_id TEXT, occurred_at TIMESTAMP,
    quantity DECIMAL(12, 3), present_value DECIMAL(18, 2), currency TEXT, formula_version TEXT,
    PRIMARY KEY (event_id, outcome, value_map_id)
) WITH (connector = 'sqlite', path = '${store}', on_start = 'replace');
INSERT INTO valued_outcomes
SELECT event_id, outcome, value_map_id, company_id, user_id, occurred_at, quantity, present_value, currency, 'sroi/2'
FROM outcome_values;

CREATE TABLE programme_costs (
    company_id TEXT, source_ref TEXT, occurred_at TIMESTAMP, amount DECIMAL(18, 2), currency TEXT,
    PRIMARY KEY (company_id, source_ref)
) WITH (connector = 'sqlite', path = '${store}', on_start = 'replace');
INSERT INTO programme_costs SELECT company_id, source_ref, occurred_at, amount, currency FROM costs;
