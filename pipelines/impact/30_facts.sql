-- The impact pipeline, 4 of 6: the facts that metrics are made of.
--
-- Metrics are computed from these views and lineage is read from the same rows, so the two cannot differ. An event without
-- a company belongs to nobody's metrics and is left out here; it is still in the programme tables.

-- Activity: one row for each event in which somebody took part, with the time it took the volunteer.
-- `programme` is what a participant-month is charged to; null where the event belongs to none.
-- Minutes, not hours, because 50 minutes are no finite decimal number of hours.
CREATE VIEW activity AS
SELECT _id AS event_id, _company_id AS company_id, 'session' AS kind, completed_at AS occurred_at, participant_id, volunteer_id,
       CAST(duration_minutes AS DECIMAL(14, 4)) AS volunteer_minutes, 'kintell_' || session_type AS programme
FROM sessions_completed WHERE _company_id IS NOT NULL
UNION ALL
SELECT event_id, company_id, 'logged_hours', activity_date, CAST(NULL AS TEXT), user_id,
       CAST(hours * CAST(60 AS DECIMAL(2, 0)) AS DECIMAL(14, 4)), 'volunteering'
FROM logged_hours WHERE company_id IS NOT NULL
UNION ALL
SELECT _id, _company_id, 'match', matched_at, participant_id, buddy_id, CAST(0 AS DECIMAL(14, 4)), 'buddy'
FROM matches_created WHERE _company_id IS NOT NULL
UNION ALL
SELECT c._id, c._company_id, 'checkin', c.checkin_date, m.participant_id, m.buddy_id, CAST(0 AS DECIMAL(14, 4)), 'buddy'
FROM checkins c LEFT JOIN matches m ON m.match_id = c.match_id WHERE c._company_id IS NOT NULL
UNION ALL
SELECT f._id, f._company_id, 'feedback', f.submitted_at, CASE f.from_role WHEN 'participant' THEN m.participant_id END,
       CASE f.from_role WHEN 'buddy' THEN m.buddy_id END, CAST(0 AS DECIMAL(14, 4)), 'buddy'
FROM feedback f LEFT JOIN matches m ON m.match_id = f.match_id WHERE f._company_id IS NOT NULL
UNION ALL
SELECT e._id, e._company_id, 'event', e.event_date, m.participant_id, m.buddy_id, CAST(0 AS DECIMAL(14, 4)), 'buddy'
FROM events_logged e LEFT JOIN matches m ON m.match_id = e.match_id WHERE e._company_id IS NOT NULL
UNION ALL
SELECT e._id, e._company_id, 'event', e.attended_at, CASE WHEN m.participant_id = e.user_id THEN e.user_id END,
       CASE WHEN m.buddy_id = e.user_id THEN e.user_id END, CAST(0 AS DECIMAL(14, 4)), 'buddy'
FROM events_attended e LEFT JOIN matches m ON m.match_id = e.match_id WHERE e._company_id IS NOT NULL
UNION ALL
SELECT s._id, s._company_id, 'skill_share', s.completed_at, m.participant_id, m.buddy_id, CAST(0 AS DECIMAL(14, 4)), 'buddy'
FROM skill_shares s LEFT JOIN matches m ON m.match_id = s.match_id WHERE s._company_id IS NOT NULL
UNION ALL
SELECT _id, _company_id, 'course_progress', updated_at, user_id, CAST(NULL AS TEXT), CAST(0 AS DECIMAL(14, 4)), 'upskilling'
FROM course_progress WHERE _company_id IS NOT NULL
UNION ALL
SELECT _id, _company_id, 'course_completion', completed_at, user_id, CAST(NULL AS TEXT), CAST(0 AS DECIMAL(14, 4)), 'upskilling'
FROM course_completions WHERE _company_id IS NOT NULL
UNION ALL
SELECT _id, _company_id, 'credential', issued_at, user_id, CAST(NULL AS TEXT), CAST(0 AS DECIMAL(14, 4)), 'upskilling'
FROM credentials WHERE _company_id IS NOT NULL
UNION ALL
SELECT r._id, r._company_id, 'rating', r.created_at, CASE r.from_role WHEN 'participant' THEN s.participant_id END,
       CASE r.from_role WHEN 'volunteer' THEN s.volunteer_id END, CAST(0 AS DECIMAL(14, 4)), CAST(NULL AS TEXT)
FROM ratings r LEFT JOIN sessions s ON s.session_id = r.session_id WHERE r._company_id IS NOT NULL
UNION ALL
SELECT _id, _company_id, 'placement', placement_date, user_id, CAST(NULL AS TEXT), CAST(0 AS DECIMAL(14, 4)), CAST(NULL AS TEXT)
FROM placements_made WHERE _company_id IS NOT NULL
UNION ALL
SELECT _id, _company_id, 'milestone', reached_at, user_id, CAST(NULL AS TEXT), CAST(0 AS DECIMAL(14, 4)), CAST(NULL AS TEXT)
FROM journey_milestones WHERE _company_id IS NOT NULL;

-- Standing: what adds up to where a participant stands at a moment. `quantity` is a count, except for
--   level          the CEFR level of a session as 1 (A1) to 6 (C2)
--   a dimension    the score of one text (fact = the dimension's name)
CREATE VIEW standing AS
SELECT company_id, participant_id AS user_id, 'active' AS fact, event_id, occurred_at, CAST(1 AS DECIMAL(12, 3)) AS quantity
FROM activity WHERE participant_id IS NOT NULL
UNION ALL
SELECT _company_id, participant_id, 'level', _id, completed_at,
       CAST(CASE language_level WHEN 'A1' THEN 1 WHEN 'A2' THEN 2 WHEN 'B1' THEN 3 WHEN 'B2' THEN 4 WHEN 'C1' THEN 5
                                WHEN 'C2' THEN 6 END AS DECIMAL(12, 3))
FROM sessions_completed WHERE language_level IS NOT NULL AND _company_id IS NOT NULL
UNION ALL
SELECT _company_id, participant_id, 'match', _id, matched_at, CAST(1 AS DECIMAL(12, 3))
FROM matches_created WHERE _company_id IS NOT NULL
UNION ALL
SELECT company_id, participant_id, kind, event_id, occurred_at, CAST(1 AS DECIMAL(12, 3))
FROM activity WHERE kind IN ('event', 'checkin') AND participant_id IS NOT NULL
UNION ALL
SELECT company_id, user_id, 'course_started', provider || '/' || course_id, started_at, CAST(1 AS DECIMAL(12, 3))
FROM courses WHERE company_id IS NOT NULL
UNION ALL
SELECT company_id, user_id, 'course_completed', provider || '/' || course_id, completed_at, CAST(1 AS DECIMAL(12, 3))
FROM courses WHERE company_id IS NOT NULL AND completed_at IS NOT NULL
UNION ALL
SELECT company_id, user_id, 'course_ended', provider || '/' || course_id, coalesce(completed_at, dropped_at), CAST(1 AS DECIMAL(12, 3))
FROM courses
WHERE company_id IS NOT NULL AND (completed_at IS NOT NULL OR (dropped_at IS NOT NULL AND newest_status = 'dropped'))
UNION ALL
SELECT _company_id, user_id, 'job', _id, placement_date, CAST(1 AS DECIMAL(12, 3))
FROM placements_made
WHERE _company_id IS NOT NULL AND placement_type IN ('job_placement', 'apprenticeship') AND status IN ('active', 'completed')
UNION ALL
SELECT _company_id, user_id, 'job_ready', _id, reached_at, CAST(1 AS DECIMAL(12, 3))
FROM journey_milestones WHERE _company_id IS NOT NULL AND milestone = 'job_ready'
UNION ALL
SELECT company_id, user_id, dimension, text_id, created_at, CAST(score AS DECIMAL(12, 3))
FROM scores WHERE author_role = 'participant' AND NOT abstained AND user_id IS NOT NULL;

-- Outcomes: changes in people's lives, never activity. Each has one row in the value map's `outcome` column:
--   employment      the first job (job_placement or apprenticeship, active or completed) of a participant
--   language_level  a CEFR level recorded in a session after a lower one had been recorded; its first time
--   qualification   a certificate or diploma issued
--   job_readiness   the first text of a participant with job_readiness of 0.7 or more, or their milestone job_ready
--   confidence, belonging   the first text of a participant with evidence of more of it
CREATE VIEW first_jobs AS
SELECT _company_id AS company_id, user_id, min(placement_date) AS occurred_at,
       substr(min(lpad(CAST(CAST(placement_date AS BIGINT) AS TEXT), 20, '0') || _id), 21) AS event_id
FROM placements_made
WHERE _company_id IS NOT NULL AND placement_type IN ('job_placement', 'apprenticeship') AND status IN ('active', 'completed')
GROUP BY _company_id, user_id;

CREATE VIEW first_levels AS
SELECT company_id, user_id, quantity AS level, min(occurred_at) AS occurred_at,
       substr(min(lpad(CAST(CAST(occurred_at AS BIGINT) AS TEXT), 20, '0') || event_id), 21) AS event_id
FROM standing
WHERE fact = 'level'
GROUP BY company_id, user_id, quantity;

CREATE VIEW gained_levels AS
SELECT l.company_id, l.user_id, l.level, l.occurred_at, l.event_id
FROM first_levels l
JOIN first_levels b ON b.company_id = l.company_id AND b.user_id = l.user_id AND b.level < l.level AND b.occurred_at < l.occurred_at
GROUP BY l.company_id, l.user_id, l.level, l.occurred_at, l.event_id;

CREATE VIEW signs AS
SELECT company_id, user_id, CASE label WHEN 'confidence_increase' THEN 'confidence' ELSE 'belonging' END AS outcome, event_id,
       created_at AS occurred_at
FROM evidence
WHERE label IN ('confidence_increase', 'belonging_increase') AND author_role = 'participant' AND user_id IS NOT NULL
UNION ALL
SELECT company_id, user_id, 'job_readiness', event_id, created_at
FROM scores
WHERE dimension = 'job_readiness' AND score >= CAST(0.7 AS DECIMAL(4, 3)) AND author_role = 'participant' AND NOT abstained
  AND user_id IS NOT NULL
UNION ALL
SELECT _company_id, user_id, 'job_readiness', _id, reached_at
FROM journey_milestones WHERE _company_id IS NOT NULL AND milestone = 'job_ready';

CREATE VIEW first_signs AS
SELECT company_id, user_id, outcome, min(occurred_at) AS occurred_at,
       substr(min(lpad(CAST(CAST(occurred_at AS BIGINT) AS TEXT), 20, '0') || event_id), 21) AS event_id
FROM signs
GROUP BY company_id, user_id, outcome;

CREATE VIEW outcomes AS
SELECT company_id, user_id, 'employment' AS outcome, event_id, occurred_at, CAST(1 AS DECIMAL(12, 3)) AS quantity FROM first_jobs
UNION ALL
SELECT company_id, user_id, 'language_level', event_id, occurred_at, CAST(1 AS DECIMAL(12, 3)) FROM gained_levels
UNION ALL
SELECT _company_id, user_id, 'qualification', _id, issued_at, CAST(1 AS DECIMAL(12, 3))
FROM credentials WHERE _company_id IS NOT NULL AND credential_type IN ('certificate', 'diploma')
UNION ALL
SELECT company_id, user_id, outcome, event_id, occurred_at, CAST(1 AS DECIMAL(12, 3)) FROM first_signs;
