-- The store of the impact pipeline: one table for each INSERT of pipelines/impact/*.sql, and the views by which a number
-- is followed back to its events and sentences. Times are ISO 8601 text in UTC; periods are [period_start, period_end).
-- Quantities are defined in pipelines/impact/README.md.

CREATE TABLE companies (
    company_id TEXT NOT NULL PRIMARY KEY,
    name TEXT,
    first_seen_at TEXT NOT NULL,
    last_seen_at TEXT NOT NULL
);

CREATE TABLE people (
    company_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    is_participant BOOLEAN NOT NULL,
    is_volunteer BOOLEAN NOT NULL,
    email TEXT,
    first_name TEXT,
    last_name TEXT,
    department TEXT,
    job_title TEXT,
    status TEXT,
    first_seen_at TEXT NOT NULL,
    last_seen_at TEXT NOT NULL,
    PRIMARY KEY (company_id, user_id)
);
CREATE INDEX people_by_user ON people (user_id);

CREATE TABLE program_enrollments (
    event_id TEXT NOT NULL PRIMARY KEY,
    company_id TEXT,
    user_id TEXT NOT NULL,
    program_type TEXT NOT NULL,
    program_id TEXT NOT NULL,
    program_name TEXT NOT NULL,
    enrolled_at TEXT NOT NULL,
    status TEXT NOT NULL,
    completed_at TEXT
);
CREATE INDEX program_enrollments_by_company ON program_enrollments (company_id, enrolled_at);

CREATE TABLE kintell_sessions (
    session_id TEXT NOT NULL PRIMARY KEY,
    company_id TEXT,
    external_session_id TEXT,
    session_type TEXT,
    participant_id TEXT,
    volunteer_id TEXT,
    scheduled_at TEXT,
    completed_at TEXT,
    duration_minutes INTEGER,
    participant_rating DECIMAL(3, 2),
    volunteer_rating DECIMAL(3, 2),
    language_level TEXT
);
CREATE INDEX kintell_sessions_by_company ON kintell_sessions (company_id, completed_at);

CREATE TABLE buddy_matches (
    match_id TEXT NOT NULL PRIMARY KEY,
    company_id TEXT,
    participant_id TEXT,
    buddy_id TEXT,
    matched_at TEXT,
    status TEXT NOT NULL,
    ended_at TEXT,
    end_reason TEXT
);
CREATE INDEX buddy_matches_by_company ON buddy_matches (company_id, matched_at);

CREATE TABLE buddy_events (
    event_id TEXT NOT NULL PRIMARY KEY,
    company_id TEXT,
    buddy_event_id TEXT NOT NULL,
    match_id TEXT,
    user_id TEXT,
    event_type TEXT NOT NULL,
    event_date TEXT NOT NULL,
    title TEXT,
    location TEXT,
    duration_minutes INTEGER
);
CREATE INDEX buddy_events_by_company ON buddy_events (company_id, event_date);

CREATE TABLE buddy_checkins (
    event_id TEXT NOT NULL PRIMARY KEY,
    company_id TEXT,
    checkin_id TEXT NOT NULL,
    match_id TEXT NOT NULL,
    checkin_date TEXT NOT NULL,
    mood TEXT,
    notes TEXT
);
CREATE INDEX buddy_checkins_by_company ON buddy_checkins (company_id, checkin_date);

CREATE TABLE buddy_feedback (
    event_id TEXT NOT NULL PRIMARY KEY,
    company_id TEXT,
    feedback_id TEXT NOT NULL,
    match_id TEXT NOT NULL,
    from_role TEXT NOT NULL,
    rating DECIMAL(3, 2) NOT NULL,
    feedback_text TEXT,
    submitted_at TEXT NOT NULL
);
CREATE INDEX buddy_feedback_by_company ON buddy_feedback (company_id, submitted_at);

CREATE TABLE learning_progress (
    user_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    course_id TEXT NOT NULL,
    company_id TEXT,
    course_name TEXT,
    status TEXT NOT NULL,
    progress_percent INTEGER,
    started_at TEXT NOT NULL,
    completed_at TEXT,
    final_score DECIMAL(5, 2),
    credential_ref TEXT,
    PRIMARY KEY (user_id, provider, course_id)
);
CREATE INDEX learning_progress_by_company ON learning_progress (company_id, completed_at);

CREATE TABLE milestones (
    event_id TEXT NOT NULL PRIMARY KEY,
    company_id TEXT,
    user_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    title TEXT NOT NULL,
    reached_at TEXT NOT NULL,
    points INTEGER
);
CREATE INDEX milestones_by_company ON milestones (company_id, reached_at);

CREATE TABLE volunteer_hours (
    event_id TEXT NOT NULL PRIMARY KEY,
    company_id TEXT,
    user_id TEXT NOT NULL,
    source_system TEXT NOT NULL,
    activity_name TEXT NOT NULL,
    activity_type TEXT NOT NULL,
    activity_date TEXT NOT NULL,
    hours DECIMAL(12, 4) NOT NULL
);
CREATE INDEX volunteer_hours_by_company ON volunteer_hours (company_id, activity_date);

CREATE TABLE donations (
    event_id TEXT NOT NULL PRIMARY KEY,
    company_id TEXT,
    user_id TEXT NOT NULL,
    source_system TEXT NOT NULL,
    donation_type TEXT NOT NULL,
    donation_date TEXT NOT NULL,
    amount DECIMAL(14, 2) NOT NULL,
    currency TEXT NOT NULL,
    nonprofit_name TEXT NOT NULL
);
CREATE INDEX donations_by_company ON donations (company_id, donation_date);

CREATE TABLE placements (
    event_id TEXT NOT NULL PRIMARY KEY,
    company_id TEXT,
    user_id TEXT NOT NULL,
    placement_type TEXT NOT NULL,
    status TEXT NOT NULL,
    placement_date TEXT NOT NULL,
    job_title TEXT
);
CREATE INDEX placements_by_company ON placements (company_id, placement_date);

-- What was screened and classified, as it may be stored: personal data is replaced by placeholders.
CREATE TABLE texts (
    text_id TEXT NOT NULL PRIMARY KEY,
    event_id TEXT NOT NULL,
    company_id TEXT,
    user_id TEXT,
    author_role TEXT,
    text_type TEXT NOT NULL,
    created_at TEXT NOT NULL,
    text TEXT,
    decision TEXT NOT NULL,
    language TEXT,
    abstained BOOLEAN,
    method TEXT,
    model_version TEXT
);
CREATE INDEX texts_by_company ON texts (company_id, created_at);
CREATE INDEX texts_by_event ON texts (event_id);

CREATE TABLE outcome_scores (
    text_id TEXT NOT NULL,
    dimension TEXT NOT NULL,
    event_id TEXT NOT NULL,
    company_id TEXT NOT NULL,
    user_id TEXT,
    author_role TEXT,
    text_type TEXT NOT NULL,
    score DECIMAL(4, 3) NOT NULL,
    confidence DECIMAL(4, 3),
    abstained BOOLEAN NOT NULL,
    method TEXT NOT NULL,
    model_version TEXT NOT NULL,
    language TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (text_id, dimension)
);
CREATE INDEX outcome_scores_by_company ON outcome_scores (company_id, created_at);

-- snippet_text is the slice position_start .. position_end (bytes of UTF-8) of texts.text. The key names the tenant and
-- the event: the same sentence of two companies, or of two people, stays two rows.
CREATE TABLE evidence_snippets (
    evidence_id TEXT NOT NULL PRIMARY KEY,
    company_id TEXT NOT NULL,
    snippet_hash TEXT NOT NULL,
    text_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    user_id TEXT,
    text_type TEXT NOT NULL,
    label TEXT NOT NULL,
    position_start INTEGER NOT NULL,
    position_end INTEGER NOT NULL,
    snippet_text TEXT NOT NULL,
    source_ref TEXT NOT NULL,
    created_at TEXT NOT NULL
);
CREATE INDEX evidence_snippets_by_company ON evidence_snippets (company_id, created_at);
CREATE INDEX evidence_snippets_by_text ON evidence_snippets (text_id);

-- Every text whose decision is not 'allow'; review_status is 'pending' where a person has to look at it.
CREATE TABLE safety_flags (
    text_id TEXT NOT NULL PRIMARY KEY,
    event_id TEXT NOT NULL,
    company_id TEXT,
    content_type TEXT NOT NULL,
    decision TEXT NOT NULL,
    requires_human_review BOOLEAN NOT NULL,
    review_status TEXT NOT NULL,
    categories TEXT,
    findings TEXT,
    raised_at TEXT NOT NULL
);
CREATE INDEX safety_flags_by_company ON safety_flags (company_id, raised_at);

-- The facts that metrics are made of. One row for each event that counts as activity.
CREATE TABLE activities (
    event_id TEXT NOT NULL PRIMARY KEY,
    company_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    occurred_at TEXT NOT NULL,
    participant_id TEXT,
    volunteer_id TEXT,
    volunteer_minutes DECIMAL(14, 4) NOT NULL
);
CREATE INDEX activities_by_company ON activities (company_id, occurred_at);

-- What a participant's standing is made of: level, match, event, checkin, course, job, job_ready, text.
CREATE TABLE participant_facts (
    company_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    fact TEXT NOT NULL,
    event_id TEXT NOT NULL,
    occurred_at TEXT NOT NULL,
    PRIMARY KEY (company_id, user_id, fact, event_id)
);
CREATE INDEX participant_facts_by_event ON participant_facts (event_id);

-- Where each participant who was active in a period stood at its end, and at the baseline of the comparison.
CREATE TABLE participant_periods (
    company_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    period_kind TEXT NOT NULL,
    period_start TEXT NOT NULL,
    period_end TEXT NOT NULL,
    baseline_at TEXT NOT NULL,
    language_level TEXT,
    integration_score DECIMAL(5, 1),
    integration_score_before DECIMAL(5, 1),
    improved BOOLEAN NOT NULL,
    job_ready BOOLEAN NOT NULL,
    employed BOOLEAN NOT NULL,
    formula_version TEXT NOT NULL,
    PRIMARY KEY (company_id, period_kind, period_start, user_id)
);

-- The valued outcomes of SROI, one row for each outcome event and each row of the value map it is valued by.
CREATE TABLE valued_outcomes (
    event_id TEXT NOT NULL,
    outcome TEXT NOT NULL,
    value_map_id TEXT NOT NULL,
    company_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    occurred_at TEXT NOT NULL,
    quantity DECIMAL(12, 3) NOT NULL,
    present_value DECIMAL(18, 2) NOT NULL,
    currency TEXT NOT NULL,
    formula_version TEXT NOT NULL,
    PRIMARY KEY (event_id, outcome, value_map_id)
);
CREATE INDEX valued_outcomes_by_company ON valued_outcomes (company_id, occurred_at);

CREATE TABLE metrics_company_period (
    company_id TEXT NOT NULL,
    period_kind TEXT NOT NULL,
    period_start TEXT NOT NULL,
    period_end TEXT NOT NULL,
    participants_count INTEGER NOT NULL,
    volunteers_count INTEGER NOT NULL,
    sessions_count INTEGER NOT NULL,
    hours DECIMAL(14, 2) NOT NULL,
    avg_integration_score DECIMAL(5, 1),
    avg_language_level DECIMAL(4, 3),
    avg_job_readiness DECIMAL(4, 3),
    avg_confidence DECIMAL(4, 3),
    avg_belonging DECIMAL(4, 3),
    avg_lang_level_proxy DECIMAL(4, 3),
    avg_well_being DECIMAL(4, 3),
    outcome_lift DECIMAL(5, 4),
    placement_rate DECIMAL(5, 4),
    social_value DECIMAL(18, 2) NOT NULL,
    investment DECIMAL(18, 2),
    sroi_ratio DECIMAL(12, 2),
    vis_score DECIMAL(6, 2),
    currency TEXT NOT NULL,
    formula_version TEXT NOT NULL,
    PRIMARY KEY (company_id, period_kind, period_start)
);

CREATE TABLE metric_values (
    metric_id TEXT NOT NULL PRIMARY KEY,
    company_id TEXT NOT NULL,
    period_kind TEXT NOT NULL,
    period_start TEXT NOT NULL,
    period_end TEXT NOT NULL,
    metric TEXT NOT NULL,
    value DECIMAL(18, 4) NOT NULL,
    formula_version TEXT NOT NULL
);
CREATE UNIQUE INDEX metric_values_by_company ON metric_values (company_id, period_kind, period_start, metric, formula_version);

-- What each metric is made of.
CREATE TABLE metric_inputs (
    metric TEXT NOT NULL,
    input TEXT NOT NULL,
    PRIMARY KEY (metric, input)
) WITHOUT ROWID;
INSERT INTO metric_inputs (metric, input) VALUES
    ('participants_count', 'participation'),
    ('volunteers_count', 'volunteering'),
    ('sessions_count', 'session'),
    ('hours', 'hours'),
    ('avg_integration_score', 'participation'),
    ('avg_integration_score', 'standing'),
    ('avg_language_level', 'participation'),
    ('avg_language_level', 'level'),
    ('avg_job_readiness', 'text'),
    ('avg_confidence', 'text'),
    ('avg_belonging', 'text'),
    ('avg_lang_level_proxy', 'text'),
    ('avg_well_being', 'text'),
    ('outcome_lift', 'participation'),
    ('outcome_lift', 'standing'),
    ('outcome_lift', 'past_text'),
    ('placement_rate', 'participation'),
    ('placement_rate', 'standing'),
    ('placement_rate', 'past_text'),
    ('social_value', 'outcome'),
    ('investment', 'hours'),
    ('investment', 'cost'),
    ('sroi_ratio', 'outcome'),
    ('sroi_ratio', 'hours'),
    ('sroi_ratio', 'cost'),
    ('vis_score', 'hours'),
    ('vis_score', 'text'),
    ('vis_score', 'participation'),
    ('vis_score', 'standing'),
    ('vis_score', 'past_text');

-- Programme costs as they entered the metrics; source_ref names the row of the reference table.
CREATE TABLE programme_costs (
    company_id TEXT NOT NULL,
    source_ref TEXT NOT NULL,
    occurred_at TEXT NOT NULL,
    amount DECIMAL(18, 2) NOT NULL,
    currency TEXT NOT NULL,
    PRIMARY KEY (company_id, source_ref)
);
CREATE INDEX programme_costs_by_company ON programme_costs (company_id, occurred_at);

-- Rows that could not be used. The same row met again, by a restart, is one letter.
CREATE TABLE dead_letters (
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    path TEXT NOT NULL,
    source TEXT NOT NULL,
    position TEXT NOT NULL,
    payload TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    PRIMARY KEY (source, position, reason)
);
CREATE INDEX dead_letters_by_time ON dead_letters (recorded_at);

-- The lineage of a number: one row for each event, reference row or evidence span that it was computed from. It is a
-- rule over the very rows the metrics are computed from, so it cannot differ from them. Ask by metric_id.
CREATE VIEW metric_lineage AS
SELECT v.metric_id, i.input, a.event_id AS source_id, a.event_id AS event_id, a.kind AS detail, a.occurred_at,
       a.participant_id AS participant_id, NULL AS text_id, '' AS evidence_id
FROM metric_values v
JOIN metric_inputs i ON i.metric = v.metric AND i.input IN ('participation', 'volunteering', 'session', 'hours')
JOIN activities a ON a.company_id = v.company_id AND a.occurred_at >= rtrim(v.period_start, 'Z') AND a.occurred_at < rtrim(v.period_end, 'Z')
WHERE (i.input = 'participation' AND a.participant_id IS NOT NULL)
   OR (i.input = 'volunteering' AND a.volunteer_id IS NOT NULL)
   OR (i.input = 'session' AND a.kind = 'session')
   OR (i.input = 'hours' AND a.volunteer_minutes <> 0)
UNION ALL
SELECT v.metric_id, i.input, f.event_id, f.event_id, f.fact, f.occurred_at, f.user_id, NULL, ''
FROM metric_values v
JOIN metric_inputs i ON i.metric = v.metric AND i.input IN ('standing', 'level', 'past_text')
JOIN participant_periods p ON p.company_id = v.company_id AND p.period_kind = v.period_kind AND p.period_start = v.period_start
JOIN participant_facts f ON f.company_id = p.company_id AND f.user_id = p.user_id AND f.occurred_at < rtrim(p.period_end, 'Z')
WHERE (i.input = 'standing' AND f.fact <> 'text')
   OR (i.input = 'level' AND f.fact = 'level')
   OR (i.input = 'past_text' AND f.fact = 'text')
UNION ALL
SELECT v.metric_id, i.input, t.event_id, t.event_id, t.text_type, t.created_at, t.user_id, t.text_id, coalesce(e.evidence_id, '')
FROM metric_values v
JOIN metric_inputs i ON i.metric = v.metric AND i.input = 'text'
JOIN texts t ON t.company_id = v.company_id AND t.created_at >= rtrim(v.period_start, 'Z') AND t.created_at < rtrim(v.period_end, 'Z')
LEFT JOIN evidence_snippets e ON e.text_id = t.text_id
WHERE t.author_role = 'participant' AND t.abstained = 0
UNION ALL
SELECT v.metric_id, i.input, o.event_id, o.event_id, o.outcome || ' by ' || o.value_map_id, o.occurred_at, o.user_id, NULL, ''
FROM metric_values v
JOIN metric_inputs i ON i.metric = v.metric AND i.input = 'outcome'
JOIN valued_outcomes o ON o.company_id = v.company_id AND o.occurred_at >= rtrim(v.period_start, 'Z') AND o.occurred_at < rtrim(v.period_end, 'Z')
UNION ALL
SELECT v.metric_id, i.input, c.source_ref, NULL, 'programme_cost', c.occurred_at, NULL, NULL, ''
FROM metric_values v
JOIN metric_inputs i ON i.metric = v.metric AND i.input = 'cost'
JOIN programme_costs c ON c.company_id = v.company_id AND c.occurred_at >= rtrim(v.period_start, 'Z') AND c.occurred_at < rtrim(v.period_end, 'Z');
