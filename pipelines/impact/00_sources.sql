-- The impact pipeline, 1 of 6: what is read.
--
-- Each table is one topic of the durable inbox, decoded and validated by its contract. A line that does not keep the
-- contract is a dead letter; a line seen before is dropped and counted; a newer version of an event replaces the old one.
-- Columns: the envelope (_id, _time, _company_id, _metadata, _position, ...), then the data fields in snake_case.
--
-- ${inbox} is the inbox folder, ${store} the SQLite store, ${tables} the folder of the reference tables; ${mode} is
-- 'tail' to follow the inbox, 'bounded' to stop at its present end.

CREATE TABLE matches_created WITH (connector = 'inbox', path = '${inbox}', contract = 'buddy.match.created', mode = '${mode}');
CREATE TABLE matches_ended WITH (connector = 'inbox', path = '${inbox}', contract = 'buddy.match.ended', mode = '${mode}');
CREATE TABLE events_logged WITH (connector = 'inbox', path = '${inbox}', contract = 'buddy.event.logged', mode = '${mode}');
CREATE TABLE events_attended WITH (connector = 'inbox', path = '${inbox}', contract = 'buddy.event.attended', mode = '${mode}');
CREATE TABLE skill_shares WITH (connector = 'inbox', path = '${inbox}', contract = 'buddy.skill_share.completed', mode = '${mode}');
CREATE TABLE checkins WITH (connector = 'inbox', path = '${inbox}', contract = 'buddy.checkin.completed', mode = '${mode}');
CREATE TABLE feedback WITH (connector = 'inbox', path = '${inbox}', contract = 'buddy.feedback.submitted', mode = '${mode}');
CREATE TABLE milestones_reached WITH (connector = 'inbox', path = '${inbox}', contract = 'buddy.milestone.reached', mode = '${mode}');
CREATE TABLE sessions_scheduled WITH (connector = 'inbox', path = '${inbox}', contract = 'kintell.session.scheduled', mode = '${mode}');
CREATE TABLE sessions_completed WITH (connector = 'inbox', path = '${inbox}', contract = 'kintell.session.completed', mode = '${mode}');
CREATE TABLE ratings WITH (connector = 'inbox', path = '${inbox}', contract = 'kintell.rating.created', mode = '${mode}');
CREATE TABLE course_progress WITH (connector = 'inbox', path = '${inbox}', contract = 'upskilling.progress.updated', mode = '${mode}');
CREATE TABLE course_completions WITH (connector = 'inbox', path = '${inbox}', contract = 'upskilling.course.completed', mode = '${mode}');
CREATE TABLE credentials WITH (connector = 'inbox', path = '${inbox}', contract = 'upskilling.credential.issued', mode = '${mode}');
CREATE TABLE journey_milestones WITH (connector = 'inbox', path = '${inbox}', contract = 'orchestration.journey.milestone.reached', mode = '${mode}');
CREATE TABLE hours_ingested WITH (connector = 'inbox', path = '${inbox}', contract = 'ingest.volunteer.logged', mode = '${mode}');
CREATE TABLE hours_external WITH (connector = 'inbox', path = '${inbox}', contract = 'external.volunteer.logged', mode = '${mode}');
CREATE TABLE donations_ingested WITH (connector = 'inbox', path = '${inbox}', contract = 'ingest.donation.made', mode = '${mode}');
CREATE TABLE donations_external WITH (connector = 'inbox', path = '${inbox}', contract = 'external.donation.made', mode = '${mode}');
CREATE TABLE directory_entries WITH (connector = 'inbox', path = '${inbox}', contract = 'ingest.directory.synced', mode = '${mode}');
CREATE TABLE enrollments WITH (connector = 'inbox', path = '${inbox}', contract = 'ingest.enrollment.created', mode = '${mode}');
CREATE TABLE placements_made WITH (connector = 'inbox', path = '${inbox}', contract = 'ingest.placement.created', mode = '${mode}');
