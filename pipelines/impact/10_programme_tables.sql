-- The impact pipeline, 2 of 6: the programme as tables.
--
-- A row that several events speak about (a session is scheduled, held, rated) is one group of them, so that it does not
-- matter in which order they arrive. "Newest" is decided by the time in the envelope: the greatest of time and value
-- written side by side.

-- Companies: everybody who sends events. The name is the newest one that an envelope carried (metadata.companyName).
CREATE VIEW company_mentions AS
SELECT _company_id AS company_id, _metadata AS metadata, _time AS seen_at FROM matches_created
UNION ALL SELECT _company_id, _metadata, _time FROM checkins
UNION ALL SELECT _company_id, _metadata, _time FROM feedback
UNION ALL SELECT _company_id, _metadata, _time FROM sessions_completed
UNION ALL SELECT _company_id, _metadata, _time FROM ratings
UNION ALL SELECT _company_id, _metadata, _time FROM course_progress
UNION ALL SELECT _company_id, _metadata, _time FROM course_completions
UNION ALL SELECT _company_id, _metadata, _time FROM credentials
UNION ALL SELECT _company_id, _metadata, _time FROM hours_ingested
UNION ALL SELECT _company_id, _metadata, _time FROM hours_external
UNION ALL SELECT _company_id, _metadata, _time FROM donations_ingested
UNION ALL SELECT _company_id, _metadata, _time FROM donations_external
UNION ALL SELECT _company_id, _metadata, _time FROM directory_entries
UNION ALL SELECT _company_id, _metadata, _time FROM enrollments
UNION ALL SELECT _company_id, _metadata, _time FROM placements_made;

CREATE VIEW named_company_mentions AS
SELECT company_id, seen_at, regexp_match(metadata, '"companyName"\s*:\s*"((?:[^"\\]|\\.)*)"')[1] AS name
FROM company_mentions
WHERE company_id IS NOT NULL;

CREATE TABLE companies (
    company_id TEXT, name TEXT, first_seen_at TIMESTAMP, last_seen_at TIMESTAMP,
    PRIMARY KEY (company_id)
) WITH (connector = 'sqlite', path = '${store}', on_start = 'replace');
INSERT INTO companies
SELECT
    company_id,
    substr(max(CASE WHEN name IS NOT NULL THEN lpad(CAST(CAST(seen_at AS BIGINT) AS TEXT), 20, '0') || name END), 21) AS name,
    min(seen_at) AS first_seen_at,
    max(seen_at) AS last_seen_at
FROM named_company_mentions
GROUP BY company_id;

-- Matches: created and ended, in either order.
CREATE VIEW match_mentions AS
SELECT match_id, _company_id AS company_id, participant_id, buddy_id, matched_at, CAST(NULL AS TIMESTAMP) AS ended_at,
       CAST(NULL AS TEXT) AS end_reason
FROM matches_created
UNION ALL
SELECT match_id, _company_id, participant_id, buddy_id, CAST(NULL AS TIMESTAMP), ended_at, reason
FROM matches_ended;

CREATE VIEW matches AS
SELECT match_id, max(company_id) AS company_id, max(participant_id) AS participant_id, max(buddy_id) AS buddy_id,
       min(matched_at) AS matched_at, max(ended_at) AS ended_at, max(end_reason) AS end_reason
FROM match_mentions
GROUP BY match_id;

CREATE TABLE buddy_matches (
    match_id TEXT, company_id TEXT, participant_id TEXT, buddy_id TEXT, matched_at TIMESTAMP, status TEXT,
    ended_at TIMESTAMP, end_reason TEXT,
    PRIMARY KEY (match_id)
) WITH (connector = 'sqlite', path = '${store}', on_start = 'replace');
INSERT INTO buddy_matches
SELECT match_id, company_id, participant_id, buddy_id, matched_at,
       CASE WHEN ended_at IS NULL THEN 'active' ELSE 'ended' END AS status, ended_at, end_reason
FROM matches;

-- Sessions: scheduled, completed and rated.
CREATE VIEW session_mentions AS
SELECT session_id, _company_id AS company_id, external_session_id, session_type, participant_id, volunteer_id, scheduled_at,
       CAST(NULL AS TIMESTAMP) AS completed_at, CAST(NULL AS BIGINT) AS duration_minutes, CAST(NULL AS TEXT) AS language_level,
       CAST(NULL AS DECIMAL(3, 2)) AS participant_rating, CAST(NULL AS DECIMAL(3, 2)) AS volunteer_rating
FROM sessions_scheduled
UNION ALL
SELECT session_id, _company_id, external_session_id, session_type, participant_id, volunteer_id, scheduled_at,
       completed_at, duration_minutes, language_level, CAST(NULL AS DECIMAL(3, 2)) AS participant_rating,
       CAST(NULL AS DECIMAL(3, 2)) AS volunteer_rating
FROM sessions_completed
UNION ALL
SELECT session_id, _company_id, CAST(NULL AS TEXT) AS external_session_id, CAST(NULL AS TEXT) AS session_type,
       CAST(NULL AS TEXT) AS participant_id, CAST(NULL AS TEXT) AS volunteer_id, CAST(NULL AS TIMESTAMP) AS scheduled_at,
       CAST(NULL AS TIMESTAMP) AS completed_at, CAST(NULL AS BIGINT) AS duration_minutes, CAST(NULL AS TEXT) AS language_level,
       CASE WHEN from_role = 'participant' THEN CAST(rating AS DECIMAL(3, 2)) END,
       CASE WHEN from_role = 'volunteer' THEN CAST(rating AS DECIMAL(3, 2)) END
FROM ratings;

CREATE VIEW sessions AS
SELECT session_id, max(company_id) AS company_id, max(external_session_id) AS external_session_id,
       max(session_type) AS session_type, max(participant_id) AS participant_id, max(volunteer_id) AS volunteer_id,
       min(scheduled_at) AS scheduled_at, max(completed_at) AS completed_at, max(duration_minutes) AS duration_minutes,
       avg(participant_rating) AS participant_rating, avg(volunteer_rating) AS volunteer_rating,
       max(language_level) AS language_level
FROM session_mentions
GROUP BY session_id;

CREATE TABLE kintell_sessions (
    session_id TEXT, company_id TEXT, external_session_id TEXT, session_type TEXT, participant_id TEXT, volunteer_id TEXT,
    scheduled_at TIMESTAMP, completed_at TIMESTAMP, duration_minutes BIGINT, participant_rating DECIMAL(3, 2),
    volunteer_rating DECIMAL(3, 2), language_level TEXT,
    PRIMARY KEY (session_id)
) WITH (connector = 'sqlite', path = '${store}', on_start = 'replace');
INSERT INTO kintell_sessions
SELECT session_id, company_id, external_session_id, session_type, participant_id, volunteer_id, scheduled_at, completed_at,
       duration_minutes, CAST(participant_rating AS DECIMAL(3, 2)), CAST(volunteer_rating AS DECIMAL(3, 2)), language_level
FROM sessions;

-- Who met whom: the two sides of a match or of a session by its id. Events and texts that name only the match or the
-- session find their people here.
CREATE VIEW pairs AS
SELECT match_id AS pair_id, participant_id, buddy_id AS volunteer_id FROM matches
UNION ALL
SELECT session_id, participant_id, volunteer_id FROM sessions;

-- Buddy events: logged by a pair, or attended by a person.
CREATE TABLE buddy_events (
    event_id TEXT, company_id TEXT, buddy_event_id TEXT, match_id TEXT, user_id TEXT, event_type TEXT,
    event_date TIMESTAMP, title TEXT, location TEXT, duration_minutes BIGINT,
    PRIMARY KEY (event_id)
) WITH (connector = 'sqlite', path = '${store}', on_start = 'replace');
INSERT INTO buddy_events
SELECT _id, _company_id, event_id AS buddy_event_id, match_id, CAST(NULL AS TEXT) AS user_id, event_type, event_date,
       description AS title, location, CAST(NULL AS BIGINT) AS duration_minutes
FROM events_logged
UNION ALL
SELECT _id, _company_id, event_id, match_id, user_id, event_type, attended_at, event_title, location, duration_minutes
FROM events_attended;

-- Check-ins and feedback. Free text is stored only as screen() returns it.
CREATE TABLE buddy_checkins (
    event_id TEXT, company_id TEXT, checkin_id TEXT, match_id TEXT, checkin_date TIMESTAMP, mood TEXT, notes TEXT,
    PRIMARY KEY (event_id)
) WITH (connector = 'sqlite', path = '${store}', on_start = 'replace');
INSERT INTO buddy_checkins
SELECT _id, _company_id, checkin_id, match_id, checkin_date, mood, screen(normalize(notes))['text']
FROM checkins;

CREATE TABLE buddy_feedback (
    event_id TEXT, company_id TEXT, feedback_id TEXT, match_id TEXT, from_role TEXT, rating DECIMAL(3, 2),
    feedback_text TEXT, submitted_at TIMESTAMP,
    PRIMARY KEY (event_id)
) WITH (connector = 'sqlite', path = '${store}', on_start = 'replace');
INSERT INTO buddy_feedback
SELECT _id, _company_id, feedback_id, match_id, from_role, CAST(rating AS DECIMAL(3, 2)),
       screen(normalize(feedback_text))['text'], submitted_at
FROM feedback;

-- Enrolments, with the programme kinds and states of the reporting tables.
CREATE TABLE program_enrollments (
    event_id TEXT, company_id TEXT, user_id TEXT, program_type TEXT, program_id TEXT, program_name TEXT,
    enrolled_at TIMESTAMP, status TEXT, completed_at TIMESTAMP,
    PRIMARY KEY (event_id)
) WITH (connector = 'sqlite', path = '${store}', on_start = 'replace');
INSERT INTO program_enrollments
SELECT _id, _company_id, user_id,
       CASE program_type WHEN 'buddy_program' THEN 'buddy' WHEN 'language_course' THEN 'language'
                         WHEN 'mentorship_program' THEN 'mentorship' WHEN 'upskilling_course' THEN 'upskilling'
                         WHEN 'certification_program' THEN 'upskilling' ELSE 'other' END,
       program_id, program_name, enrollment_date,
       CASE status WHEN 'completed' THEN 'completed' WHEN 'withdrawn' THEN 'dropped' WHEN 'failed' THEN 'dropped'
                   ELSE 'active' END,
       completion_date
FROM enrollments;

-- Courses: one row for each person and course, whatever was reported of it and in which order.
CREATE VIEW course_mentions AS
SELECT _company_id AS company_id, user_id, provider, course_id, course_name, updated_at AS seen_at, progress_percent,
       CASE WHEN status = 'completed' THEN updated_at END AS completed_at,
       CASE WHEN status = 'dropped' THEN updated_at END AS dropped_at,
       CAST(NULL AS DECIMAL(5, 2)) AS final_score, CAST(NULL AS TEXT) AS credential_ref,
       lpad(CAST(CAST(updated_at AS BIGINT) AS TEXT), 20, '0') || status AS dated_status
FROM course_progress
UNION ALL
SELECT _company_id, user_id, provider, course_id, course_name, completed_at AS seen_at, CAST(100 AS BIGINT), completed_at,
       CAST(NULL AS TIMESTAMP) AS dropped_at, CAST(final_score AS DECIMAL(5, 2)), credential_ref,
       lpad(CAST(CAST(completed_at AS BIGINT) AS TEXT), 20, '0') || 'completed'
FROM course_completions;

CREATE VIEW courses AS
SELECT max(company_id) AS company_id, user_id, provider, course_id, max(course_name) AS course_name,
       min(seen_at) AS started_at, min(completed_at) AS completed_at, max(dropped_at) AS dropped_at,
       max(progress_percent) AS progress_percent, max(final_score) AS final_score, max(credential_ref) AS credential_ref,
       substr(max(dated_status), 21) AS newest_status
FROM course_mentions
GROUP BY user_id, provider, course_id;

CREATE TABLE learning_progress (
    user_id TEXT, provider TEXT, course_id TEXT, company_id TEXT, course_name TEXT, status TEXT, progress_percent BIGINT,
    started_at TIMESTAMP, completed_at TIMESTAMP, final_score DECIMAL(5, 2), credential_ref TEXT,
    PRIMARY KEY (user_id, provider, course_id)
) WITH (connector = 'sqlite', path = '${store}', on_start = 'replace');
INSERT INTO learning_progress
SELECT user_id, provider, course_id, company_id, course_name,
       CASE WHEN completed_at IS NOT NULL THEN 'completed' ELSE newest_status END, progress_percent, started_at, completed_at,
       final_score, credential_ref
FROM courses;

-- Milestones of the buddy system and of the journey.
CREATE TABLE milestones (
    event_id TEXT, company_id TEXT, user_id TEXT, kind TEXT, title TEXT, reached_at TIMESTAMP, points BIGINT,
    PRIMARY KEY (event_id)
) WITH (connector = 'sqlite', path = '${store}', on_start = 'replace');
INSERT INTO milestones
SELECT _id, _company_id, user_id, 'buddy', milestone_title, reached_at, points FROM milestones_reached
UNION ALL
SELECT _id, _company_id, user_id, 'journey', milestone, reached_at, CAST(NULL AS BIGINT) FROM journey_milestones;

-- Volunteer hours: the two shapes of the same fact under one list of activity kinds. The external kinds are mapped as
-- contracts/mappings/external_to_ingest.json says, with its reasons; a test compares the two.
CREATE VIEW logged_hours AS
SELECT _id AS event_id, _company_id AS company_id, user_id, source_system, activity_name, activity_type, activity_date,
       CAST(hours_logged AS DECIMAL(12, 4)) AS hours
FROM hours_ingested
UNION ALL
SELECT _id, _company_id, user_id, source, activity_name,
       CASE activity_type WHEN 'skills_based' THEN 'skills_volunteering' WHEN 'general' THEN 'hands_on_volunteering'
                          WHEN 'event' THEN 'hands_on_volunteering' WHEN 'mentorship' THEN 'skills_volunteering'
                          WHEN 'tutoring' THEN 'skills_volunteering' ELSE 'other' END,
       activity_date, CAST(hours AS DECIMAL(12, 4))
FROM hours_external;

CREATE TABLE volunteer_hours (
    event_id TEXT, company_id TEXT, user_id TEXT, source_system TEXT, activity_name TEXT, activity_type TEXT,
    activity_date TIMESTAMP, hours DECIMAL(12, 4),
    PRIMARY KEY (event_id)
) WITH (connector = 'sqlite', path = '${store}', on_start = 'replace');
INSERT INTO volunteer_hours SELECT * FROM logged_hours;

-- Donations, likewise: payroll -> payroll_deduction.
CREATE TABLE donations (
    event_id TEXT, company_id TEXT, user_id TEXT, source_system TEXT, donation_type TEXT, donation_date TIMESTAMP,
    amount DECIMAL(14, 2), currency TEXT, nonprofit_name TEXT,
    PRIMARY KEY (event_id)
) WITH (connector = 'sqlite', path = '${store}', on_start = 'replace');
INSERT INTO donations
SELECT _id, _company_id, user_id, source_system, donation_type, donation_date, CAST(amount AS DECIMAL(14, 2)), currency,
       nonprofit_name
FROM donations_ingested
UNION ALL
SELECT _id, _company_id, user_id, source,
       CASE donation_type WHEN 'payroll' THEN 'payroll_deduction' ELSE coalesce(donation_type, 'one_time') END, donation_date,
       CAST(amount AS DECIMAL(14, 2)), coalesce(currency, 'USD'), nonprofit_name
FROM donations_external;

CREATE TABLE placements (
    event_id TEXT, company_id TEXT, user_id TEXT, placement_type TEXT, status TEXT, placement_date TIMESTAMP, job_title TEXT,
    PRIMARY KEY (event_id)
) WITH (connector = 'sqlite', path = '${store}', on_start = 'replace');
INSERT INTO placements
SELECT _id, _company_id, user_id, placement_type, status, placement_date, job_title FROM placements_made;

-- People: everybody an event names in a role, with the newest directory entry where there is one.
CREATE VIEW person_mentions AS
SELECT _company_id AS company_id, user_id, 'participant' AS role, _time AS seen_at FROM enrollments
UNION ALL SELECT _company_id, participant_id, 'participant', _time FROM matches_created
UNION ALL SELECT _company_id, buddy_id, 'volunteer', _time FROM matches_created
UNION ALL SELECT _company_id, participant_id, 'participant', _time FROM sessions_completed
UNION ALL SELECT _company_id, volunteer_id, 'volunteer', _time FROM sessions_completed
UNION ALL SELECT _company_id, user_id, 'participant', _time FROM course_progress
UNION ALL SELECT _company_id, user_id, 'participant', _time FROM course_completions
UNION ALL SELECT _company_id, user_id, 'participant', _time FROM placements_made
UNION ALL SELECT company_id, user_id, 'volunteer', activity_date FROM logged_hours
UNION ALL SELECT _company_id, user_id, 'volunteer', _time FROM directory_entries WHERE user_id IS NOT NULL;

CREATE VIEW known_people AS
SELECT company_id, user_id, count(*) FILTER (WHERE role = 'participant') > 0 AS is_participant,
       count(*) FILTER (WHERE role = 'volunteer') > 0 AS is_volunteer, min(seen_at) AS first_seen_at, max(seen_at) AS last_seen_at
FROM person_mentions
WHERE company_id IS NOT NULL
GROUP BY company_id, user_id;

CREATE VIEW newest_entries AS
SELECT company_id, user_id, substr(max(lpad(CAST(CAST(_time AS BIGINT) AS TEXT), 20, '0') || _id), 21) AS entry_id
FROM directory_entries
WHERE user_id IS NOT NULL
GROUP BY company_id, user_id;

CREATE VIEW newest_directory AS
SELECT n.company_id, n.user_id, d.email, d.first_name, d.last_name, d.department, d.job_title, d.status
FROM newest_entries n
JOIN directory_entries d ON d._id = n.entry_id;

CREATE TABLE people (
    company_id TEXT, user_id TEXT, is_participant BOOLEAN, is_volunteer BOOLEAN, email TEXT, first_name TEXT, last_name TEXT,
    department TEXT, job_title TEXT, status TEXT, first_seen_at TIMESTAMP, last_seen_at TIMESTAMP,
    PRIMARY KEY (company_id, user_id)
) WITH (connector = 'sqlite', path = '${store}', on_start = 'replace');
INSERT INTO people
SELECT p.company_id, p.user_id, p.is_participant, p.is_volunteer, d.email, d.first_name, d.last_name, d.department,
       d.job_title, d.status, p.first_seen_at, p.last_seen_at
FROM known_people p
LEFT JOIN newest_directory d ON d.company_id = p.company_id AND d.user_id = p.user_id;
