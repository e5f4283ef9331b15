-- The impact pipeline, 5 of 6: metrics of a company in a month, a quarter and a year (UTC, end exclusive).
--
-- README.md defines each quantity. Sums and means are over decimals only, so they do not depend on the order of rows. A
-- quantity without anything to be computed from is null, not zero; counts, hours and money are zero.

-- The three periods that an activity falls into.
CREATE VIEW activity_periods AS
SELECT event_id, company_id, kind, participant_id, volunteer_id, volunteer_minutes, period_kind,
       w['start'] AS period_start, w['end'] AS period_end
FROM (
    SELECT event_id, company_id, kind, participant_id, volunteer_id, volunteer_minutes, period_kind,
           CASE period_kind WHEN 'month' THEN tumble(occurred_at, interval '1 month')
                            WHEN 'quarter' THEN tumble(occurred_at, interval '3 months')
                            ELSE tumble(occurred_at, interval '12 months') END AS w
    FROM (SELECT *, unnest(make_array('month', 'quarter', 'year')) AS period_kind FROM activity) AS kinds
) AS windows;

-- Counts and hours.
CREATE VIEW activity_metrics AS
SELECT company_id, period_kind, period_start, period_end,
       count(DISTINCT participant_id) AS participants_count,
       count(DISTINCT volunteer_id) AS volunteers_count,
       count(*) FILTER (WHERE kind = 'session') AS sessions_count,
       sum(volunteer_minutes) AS volunteer_minutes
FROM activity_periods
GROUP BY company_id, period_kind, period_start, period_end;

-- Standing of participants. Months are added up first, then each period takes all months before its end.
CREATE VIEW participant_months AS
SELECT company_id, user_id, w['start'] AS month_start, w['end'] AS month_end,
       sum(quantity) FILTER (WHERE fact = 'active') AS active,
       max(quantity) FILTER (WHERE fact = 'level') AS level,
       sum(quantity) FILTER (WHERE fact = 'match') AS matches,
       sum(quantity) FILTER (WHERE fact = 'event') AS events,
       sum(quantity) FILTER (WHERE fact = 'checkin') AS checkins,
       sum(quantity) FILTER (WHERE fact = 'course_started') AS courses_started,
       sum(quantity) FILTER (WHERE fact = 'course_ended') AS courses_ended,
       sum(quantity) FILTER (WHERE fact = 'course_completed') AS courses_completed,
       sum(quantity) FILTER (WHERE fact = 'job') AS jobs,
       sum(quantity) FILTER (WHERE fact = 'job_ready') AS job_ready,
       max(quantity) FILTER (WHERE fact = 'job_readiness') AS job_readiness_max,
       sum(quantity) FILTER (WHERE fact = 'confidence') AS confidence,
       count(*) FILTER (WHERE fact = 'confidence') AS confidence_n,
       sum(quantity) FILTER (WHERE fact = 'belonging') AS belonging,
       count(*) FILTER (WHERE fact = 'belonging') AS belonging_n,
       sum(quantity) FILTER (WHERE fact = 'lang_level_proxy') AS lang_level_proxy,
       count(*) FILTER (WHERE fact = 'lang_level_proxy') AS lang_level_proxy_n,
       sum(quantity) FILTER (WHERE fact = 'job_readiness') AS job_readiness,
       count(*) FILTER (WHERE fact = 'job_readiness') AS job_readiness_n,
       sum(quantity) FILTER (WHERE fact = 'well_being') AS well_being,
       count(*) FILTER (WHERE fact = 'well_being') AS well_being_n
FROM (SELECT *, tumble(occurred_at, interval '1 month') AS w FROM standing) AS windows
GROUP BY company_id, user_id, w['start'], w['end'];

CREATE VIEW participant_firsts AS
SELECT company_id, user_id, min(month_end) AS first_month_end
FROM participant_months WHERE active > 0
GROUP BY company_id, user_id;

CREATE VIEW participant_keys AS
SELECT company_id, participant_id AS user_id, period_kind, period_start, period_end
FROM activity_periods WHERE participant_id IS NOT NULL
GROUP BY company_id, participant_id, period_kind, period_start, period_end;

-- The baseline: the start of the period, or the end of their first month for those who joined during it.
CREATE VIEW participant_windows AS
SELECT k.company_id, k.user_id, k.period_kind, k.period_start, k.period_end,
       CASE WHEN f.first_month_end > k.period_start THEN f.first_month_end ELSE k.period_start END AS baseline_at
FROM participant_keys k
JOIN participant_firsts f ON f.company_id = k.company_id AND f.user_id = k.user_id;

CREATE VIEW participant_sums AS
SELECT w.company_id, w.user_id, w.period_kind, w.period_start, w.period_end, w.baseline_at,
       CAST(max(m.level) AS BIGINT) AS level,
       CAST(max(m.level) FILTER (WHERE m.month_start < w.baseline_at) AS BIGINT) AS level_0,
       CAST(coalesce(sum(m.matches), 0) AS BIGINT) AS matches,
       CAST(coalesce(sum(m.matches) FILTER (WHERE m.month_start < w.baseline_at), 0) AS BIGINT) AS matches_0,
       CAST(coalesce(sum(m.events), 0) AS BIGINT) AS events,
       CAST(coalesce(sum(m.events) FILTER (WHERE m.month_start < w.baseline_at), 0) AS BIGINT) AS events_0,
       CAST(coalesce(sum(m.checkins), 0) AS BIGINT) AS checkins,
       CAST(coalesce(sum(m.checkins) FILTER (WHERE m.month_start < w.baseline_at), 0) AS BIGINT) AS checkins_0,
       CAST(coalesce(sum(m.courses_completed), 0) AS BIGINT) AS completed,
       CAST(coalesce(sum(m.courses_completed) FILTER (WHERE m.month_start < w.baseline_at), 0) AS BIGINT) AS completed_0,
       CAST(coalesce(sum(m.courses_started), 0) - coalesce(sum(m.courses_ended), 0) AS BIGINT) AS in_progress,
       CAST(coalesce(sum(m.courses_started) FILTER (WHERE m.month_start < w.baseline_at), 0)
            - coalesce(sum(m.courses_ended) FILTER (WHERE m.month_start < w.baseline_at), 0) AS BIGINT) AS in_progress_0,
       coalesce(sum(m.jobs), 0) > 0 AS employed,
       coalesce(sum(m.jobs) FILTER (WHERE m.month_start < w.baseline_at), 0) > 0 AS employed_0,
       coalesce(sum(m.job_ready), 0) > 0 OR coalesce(max(m.job_readiness_max), 0) >= CAST(0.7 AS DECIMAL(2, 1)) AS ready,
       CAST(coalesce(sum(m.confidence), 0) AS DECIMAL(12, 3)) AS confidence,
       CAST(coalesce(sum(m.confidence_n), 0) AS DECIMAL(9, 0)) AS confidence_n,
       CAST(coalesce(sum(m.confidence) FILTER (WHERE m.month_start < w.baseline_at), 0) AS DECIMAL(12, 3)) AS confidence_0,
       CAST(coalesce(sum(m.confidence_n) FILTER (WHERE m.month_start < w.baseline_at), 0) AS DECIMAL(9, 0)) AS confidence_n_0,
       CAST(coalesce(sum(m.belonging), 0) AS DECIMAL(12, 3)) AS belonging,
       CAST(coalesce(sum(m.belonging_n), 0) AS DECIMAL(9, 0)) AS belonging_n,
       CAST(coalesce(sum(m.belonging) FILTER (WHERE m.month_start < w.baseline_at), 0) AS DECIMAL(12, 3)) AS belonging_0,
       CAST(coalesce(sum(m.belonging_n) FILTER (WHERE m.month_start < w.baseline_at), 0) AS DECIMAL(9, 0)) AS belonging_n_0,
       CAST(coalesce(sum(m.lang_level_proxy), 0) AS DECIMAL(12, 3)) AS lang_level_proxy,
       CAST(coalesce(sum(m.lang_level_proxy_n), 0) AS DECIMAL(9, 0)) AS lang_level_proxy_n,
       CAST(coalesce(sum(m.lang_level_proxy) FILTER (WHERE m.month_start < w.baseline_at), 0) AS DECIMAL(12, 3)) AS lang_level_proxy_0,
       CAST(coalesce(sum(m.lang_level_proxy_n) FILTER (WHERE m.month_start < w.baseline_at), 0) AS DECIMAL(9, 0)) AS lang_level_proxy_n_0,
       CAST(coalesce(sum(m.job_readiness), 0) AS DECIMAL(12, 3)) AS job_readiness,
       CAST(coalesce(sum(m.job_readiness_n), 0) AS DECIMAL(9, 0)) AS job_readiness_n,
       CAST(coalesce(sum(m.job_readiness) FILTER (WHERE m.month_start < w.baseline_at), 0) AS DECIMAL(12, 3)) AS job_readiness_0,
       CAST(coalesce(sum(m.job_readiness_n) FILTER (WHERE m.month_start < w.baseline_at), 0) AS DECIMAL(9, 0)) AS job_readiness_n_0,
       CAST(coalesce(sum(m.well_being), 0) AS DECIMAL(12, 3)) AS well_being,
       CAST(coalesce(sum(m.well_being_n), 0) AS DECIMAL(9, 0)) AS well_being_n,
       CAST(coalesce(sum(m.well_being) FILTER (WHERE m.month_start < w.baseline_at), 0) AS DECIMAL(12, 3)) AS well_being_0,
       CAST(coalesce(sum(m.well_being_n) FILTER (WHERE m.month_start < w.baseline_at), 0) AS DECIMAL(9, 0)) AS well_being_n_0
FROM participant_windows w
JOIN participant_months m ON m.company_id = w.company_id AND m.user_id = w.user_id AND m.month_start < w.period_end
GROUP BY w.company_id, w.user_id, w.period_kind, w.period_start, w.period_end, w.baseline_at;

CREATE VIEW participant_scores AS
SELECT *,
       CASE level WHEN 1 THEN 'A1' WHEN 2 THEN 'A2' WHEN 3 THEN 'B1' WHEN 4 THEN 'B2' WHEN 5 THEN 'C1' WHEN 6 THEN 'C2' END
           AS language_level,
       CASE level_0 WHEN 1 THEN 'A1' WHEN 2 THEN 'A2' WHEN 3 THEN 'B1' WHEN 4 THEN 'B2' WHEN 5 THEN 'C1' WHEN 6 THEN 'C2' END
           AS language_level_0,
       -- A dimension improved when the mean of its scores since the baseline is at least 0.15 above the mean before it:
       -- s1 / n1 - s0 / n0 >= 0.15, multiplied out so that nothing is rounded; with n1 or n0 zero it did not.
       (confidence_n > confidence_n_0 AND confidence_n_0 > 0
           AND (confidence - confidence_0) * confidence_n_0 - confidence_0 * (confidence_n - confidence_n_0)
               >= CAST(0.15 AS DECIMAL(3, 2)) * (confidence_n - confidence_n_0) * confidence_n_0)
        OR (belonging_n > belonging_n_0 AND belonging_n_0 > 0
           AND (belonging - belonging_0) * belonging_n_0 - belonging_0 * (belonging_n - belonging_n_0)
               >= CAST(0.15 AS DECIMAL(3, 2)) * (belonging_n - belonging_n_0) * belonging_n_0)
        OR (lang_level_proxy_n > lang_level_proxy_n_0 AND lang_level_proxy_n_0 > 0
           AND (lang_level_proxy - lang_level_proxy_0) * lang_level_proxy_n_0 - lang_level_proxy_0 * (lang_level_proxy_n - lang_level_proxy_n_0)
               >= CAST(0.15 AS DECIMAL(3, 2)) * (lang_level_proxy_n - lang_level_proxy_n_0) * lang_level_proxy_n_0)
        OR (job_readiness_n > job_readiness_n_0 AND job_readiness_n_0 > 0
           AND (job_readiness - job_readiness_0) * job_readiness_n_0 - job_readiness_0 * (job_readiness_n - job_readiness_n_0)
               >= CAST(0.15 AS DECIMAL(3, 2)) * (job_readiness_n - job_readiness_n_0) * job_readiness_n_0)
        OR (well_being_n > well_being_n_0 AND well_being_n_0 > 0
           AND (well_being - well_being_0) * well_being_n_0 - well_being_0 * (well_being_n - well_being_n_0)
               >= CAST(0.15 AS DECIMAL(3, 2)) * (well_being_n - well_being_n_0) * well_being_n_0) AS better_texts
FROM participant_sums;

CREATE VIEW participant_standings AS
SELECT *,
       integration_score(language_level, matches, events, checkins, employed, completed, in_progress) AS integration,
       integration_score(language_level_0, matches_0, events_0, checkins_0, employed_0, completed_0, in_progress_0) AS integration_0
FROM participant_scores;

CREATE VIEW participant_results AS
SELECT company_id, user_id, period_kind, period_start, period_end, baseline_at, language_level,
       integration, integration_0,
       baseline_at < period_end AND (
              coalesce(integration - integration_0, CAST(0 AS DECIMAL(9, 4))) >= CAST(10 AS DECIMAL(3, 0)) OR coalesce(level - level_0, 0) >= 1
           OR (employed AND NOT employed_0) OR better_texts) AS improved,
       ready OR employed AS job_ready, employed
FROM participant_standings;

CREATE TABLE participant_periods (
    company_id TEXT, user_id TEXT, period_kind TEXT, period_start TIMESTAMP, period_end TIMESTAMP, baseline_at TIMESTAMP,
    language_level TEXT, integration_score DECIMAL(5, 1), integration_score_before DECIMAL(5, 1), improved BOOLEAN,
    job_ready BOOLEAN, employed BOOLEAN, formula_version TEXT,
    PRIMARY KEY (company_id, period_kind, period_start, user_id)
) WITH (connector = 'sqlite', path = '${store}', on_start = 'replace');
INSERT INTO participant_periods
SELECT company_id, user_id, period_kind, period_start, period_end, baseline_at, language_level,
       CAST(integration AS DECIMAL(5, 1)), CAST(integration_0 AS DECIMAL(5, 1)), improved, job_ready, employed, 'integration/1'
FROM participant_results;

CREATE VIEW participant_metrics AS
SELECT company_id, period_kind, period_start, period_end,
       CAST(avg(CAST(integration AS DECIMAL(9, 4))) AS DECIMAL(5, 1)) AS avg_integration_score,
       CAST(avg(CAST(cefr_score(language_level) AS DECIMAL(9, 4))) AS DECIMAL(4, 3)) AS avg_language_level,
       CAST(CAST(count(*) FILTER (WHERE improved) AS DECIMAL(12, 4)) / CAST(count(*) AS DECIMAL(12, 0)) AS DECIMAL(5, 4)) AS outcome_lift,
       CAST(CASE WHEN count(*) FILTER (WHERE job_ready) = 0 THEN CAST(0 AS DECIMAL(12, 4))
            ELSE CAST(count(*) FILTER (WHERE employed) AS DECIMAL(12, 4)) / CAST(count(*) FILTER (WHERE job_ready) AS DECIMAL(12, 0))
            END AS DECIMAL(5, 4)) AS placement_rate
FROM participant_results
GROUP BY company_id, period_kind, period_start, period_end;

-- Mean scores of what participants wrote in the period.
CREATE VIEW score_periods AS
SELECT company_id, dimension, exact_score, period_kind, w['start'] AS period_start, w['end'] AS period_end
FROM (
    SELECT company_id, dimension, exact_score, period_kind,
           CASE period_kind WHEN 'month' THEN tumble(created_at, interval '1 month')
                            WHEN 'quarter' THEN tumble(created_at, interval '3 months')
                            ELSE tumble(created_at, interval '12 months') END AS w
    FROM (
        SELECT company_id, dimension, CAST(score AS DECIMAL(9, 4)) AS exact_score, created_at,
               unnest(make_array('month', 'quarter', 'year')) AS period_kind
        FROM scores WHERE author_role = 'participant' AND NOT abstained
    ) AS kinds
) AS windows;

CREATE VIEW score_means AS
SELECT company_id, period_kind, period_start, period_end,
       avg(exact_score) FILTER (WHERE dimension = 'confidence') AS confidence,
       avg(exact_score) FILTER (WHERE dimension = 'belonging') AS belonging,
       avg(exact_score) FILTER (WHERE dimension = 'lang_level_proxy') AS lang_level_proxy,
       avg(exact_score) FILTER (WHERE dimension = 'job_readiness') AS job_readiness,
       avg(exact_score) FILTER (WHERE dimension = 'well_being') AS well_being
FROM score_periods
GROUP BY company_id, period_kind, period_start, period_end;

-- SROI (sroi/2). The reference tables are dated: a row is valid from `valid_from` up to, not including, `valid_to`; a row
-- for one company or programme goes before one for all ('*'), a newer one before an older one. Everything is in pounds:
-- other currencies are converted by exchange_rates.csv, and without a rate the investment is unknown, not smaller.
CREATE TABLE hour_rates (
    region TEXT, figure_year BIGINT, released TEXT, value DECIMAL(10, 2), currency TEXT, source TEXT
) WITH (connector = 'single_file', path = '${tables}/hour_rates.csv', format = 'csv', type = 'source');
CREATE TABLE value_map (
    tenant TEXT, programme TEXT, stakeholder TEXT, outcome TEXT, indicator TEXT, unit TEXT, proxy DECIMAL(14, 2), currency TEXT,
    price_year BIGINT, duration_years BIGINT, deadweight DECIMAL(5, 4), displacement DECIMAL(5, 4), attribution DECIMAL(5, 4),
    drop_off DECIMAL(5, 4), valid_from DATE, valid_to DATE, source TEXT, licence TEXT
) WITH (connector = 'single_file', path = '${tables}/value_map.csv', format = 'csv', type = 'source');
CREATE TABLE cost_rates (
    company TEXT, programme TEXT, unit TEXT, cost DECIMAL(14, 2), currency TEXT, valid_from DATE, valid_to DATE, source TEXT,
    licence TEXT
) WITH (connector = 'single_file', path = '${tables}/programme_costs.csv', format = 'csv', type = 'source');
CREATE TABLE exchange_rates (
    currency TEXT, target TEXT, rate DECIMAL(12, 4), valid_from DATE, valid_to DATE, source TEXT, licence TEXT
) WITH (connector = 'single_file', path = '${tables}/exchange_rates.csv', format = 'csv', type = 'source');

CREATE VIEW to_pounds AS
SELECT currency, rate, CAST(valid_from AS TIMESTAMP) AS valid_from,
       CAST(coalesce(valid_to, DATE '2200-01-01') AS TIMESTAMP) AS valid_to
FROM exchange_rates WHERE target = 'GBP';

-- Outcomes and the row of the value map that each is valued by.
CREATE VIEW values_in_pounds AS
SELECT v.tenant || '/' || v.outcome || '/' || CAST(v.valid_from AS TEXT) AS value_map_id, v.tenant, v.outcome,
       CAST(v.valid_from AS TIMESTAMP) AS valid_from, CAST(coalesce(v.valid_to, DATE '2200-01-01') AS TIMESTAMP) AS valid_to,
       CAST(v.proxy * x.rate AS DECIMAL(18, 4)) AS proxy, v.deadweight, v.displacement, v.attribution, v.drop_off, v.duration_years
FROM value_map v
JOIN to_pounds x ON x.currency = v.currency AND x.valid_from <= CAST(v.valid_from AS TIMESTAMP)
                AND x.valid_to > CAST(v.valid_from AS TIMESTAMP)
WHERE v.programme = '*';

CREATE VIEW outcome_choices AS
SELECT o.company_id, o.user_id, o.outcome, o.event_id, o.occurred_at, o.quantity,
       substr(max(CASE v.tenant WHEN '*' THEN '0' ELSE '1' END || lpad(CAST(CAST(v.valid_from AS BIGINT) AS TEXT), 20, '0')
                  || v.value_map_id), 22) AS value_map_id
FROM outcomes o
JOIN values_in_pounds v ON v.outcome = o.outcome AND (v.tenant = '*' OR v.tenant = o.company_id)
                       AND v.valid_from <= o.occurred_at AND v.valid_to > o.occurred_at
GROUP BY o.company_id, o.user_id, o.outcome, o.event_id, o.occurred_at, o.quantity;

CREATE VIEW outcome_values AS
SELECT o.company_id, o.user_id, o.outcome, o.event_id, o.occurred_at, o.quantity, o.value_map_id,
       CAST(sroi_present_value(o.quantity, v.proxy, v.deadweight, v.displacement, v.attribution, v.drop_off, v.duration_years,
                               CAST(0.035 AS DECIMAL(5, 4)), 'year1_discounted') AS DECIMAL(18, 2)) AS present_value,
       'GBP' AS currency
FROM outcome_choices o
JOIN values_in_pounds v ON v.value_map_id = o.value_map_id;

CREATE VIEW value_metrics AS
SELECT company_id, period_kind, w['start'] AS period_start, w['end'] AS period_end, sum(present_value) AS social_value
FROM (
    SELECT company_id, present_value, period_kind,
           CASE period_kind WHEN 'month' THEN tumble(occurred_at, interval '1 month')
                            WHEN 'quarter' THEN tumble(occurred_at, interval '3 months')
                            ELSE tumble(occurred_at, interval '12 months') END AS w
    FROM (SELECT *, unnest(make_array('month', 'quarter', 'year')) AS period_kind FROM outcome_values) AS kinds
) AS windows
GROUP BY company_id, period_kind, w['start'], w['end'];

-- Programme costs: the participants of a programme in a month times the cost of a participant-month.
CREATE VIEW programme_months AS
SELECT company_id, programme, w['start'] AS month_start, count(DISTINCT participant_id) AS participants
FROM (
    SELECT company_id, programme, participant_id, tumble(occurred_at, interval '1 month') AS w
    FROM activity WHERE participant_id IS NOT NULL AND programme IS NOT NULL
) AS windows
GROUP BY company_id, programme, w['start'];

CREATE VIEW costs_in_pounds AS
SELECT c.company, c.programme, 'programme_costs.csv ' || c.company || '/' || c.programme || '/' || CAST(c.valid_from AS TEXT) AS cost_id,
       CAST(c.valid_from AS TIMESTAMP) AS valid_from, CAST(coalesce(c.valid_to, DATE '2200-01-01') AS TIMESTAMP) AS valid_to,
       CAST(c.cost * x.rate AS DECIMAL(18, 4)) AS cost, c.unit
FROM cost_rates c
JOIN to_pounds x ON x.currency = c.currency AND x.valid_from <= CAST(c.valid_from AS TIMESTAMP)
                AND x.valid_to > CAST(c.valid_from AS TIMESTAMP);

CREATE VIEW cost_choices AS
SELECT p.company_id, p.programme, p.month_start, p.participants,
       substr(max(CASE c.company WHEN '*' THEN '0' ELSE '1' END || CASE c.programme WHEN '*' THEN '0' ELSE '1' END
                  || lpad(CAST(CAST(c.valid_from AS BIGINT) AS TEXT), 20, '0') || c.cost_id), 23) AS cost_id
FROM (SELECT *, 'participant_month' AS unit FROM programme_months) AS p
JOIN costs_in_pounds c ON c.unit = p.unit AND (c.company = '*' OR c.company = p.company_id)
                      AND (c.programme = '*' OR c.programme = p.programme)
                      AND c.valid_from <= p.month_start AND c.valid_to > p.month_start
GROUP BY p.company_id, p.programme, p.month_start, p.participants;

CREATE VIEW costs AS
SELECT p.company_id, c.cost_id || ' for ' || p.programme || ' in ' || substr(CAST(p.month_start AS TEXT), 1, 7) AS source_ref,
       p.month_start AS occurred_at, CAST(c.cost * CAST(p.participants AS DECIMAL(9, 0)) AS DECIMAL(18, 2)) AS amount, 'GBP' AS currency
FROM cost_choices p
JOIN costs_in_pounds c ON c.cost_id = p.cost_id;

CREATE VIEW cost_metrics AS
SELECT company_id, period_kind, w['start'] AS period_start, w['end'] AS period_end, sum(amount) AS programme_cost
FROM (
    SELECT company_id, amount, period_kind,
           CASE period_kind WHEN 'month' THEN tumble(occurred_at, interval '1 month')
                            WHEN 'quarter' THEN tumble(occurred_at, interval '3 months')
                            ELSE tumble(occurred_at, interval '12 months') END AS w
    FROM (SELECT *, unnest(make_array('month', 'quarter', 'year')) AS period_kind FROM costs) AS kinds
) AS windows
GROUP BY company_id, period_kind, w['start'], w['end'];

-- The value of an hour: the figure of the activity's year, else the newest before it. Every period lies in one year. The
-- region is the United States for everybody, the only one with published figures here.
CREATE VIEW activity_years AS
SELECT CAST(date_part('year', period_start) AS BIGINT) AS year, 'US' AS region FROM activity_metrics
GROUP BY CAST(date_part('year', period_start) AS BIGINT);

CREATE VIEW figure_years AS
SELECT y.year, y.region, max(r.figure_year) AS figure_year
FROM activity_years y
JOIN hour_rates r ON r.region = y.region AND r.figure_year <= y.year
GROUP BY y.year, y.region;

CREATE VIEW hour_values AS
SELECT f.year, CAST(r.value * x.rate AS DECIMAL(18, 6)) AS hour_value
FROM figure_years f
JOIN hour_rates r ON r.region = f.region AND r.figure_year = f.figure_year
JOIN to_pounds x ON x.currency = r.currency AND date_part('year', x.valid_from) <= f.year AND date_part('year', x.valid_to) > f.year;

CREATE VIEW hour_metrics AS
SELECT m.company_id, m.period_kind, m.period_start, m.period_end, m.participants_count, m.volunteers_count, m.sessions_count,
       m.volunteer_minutes,
       CASE WHEN m.volunteer_minutes = 0 THEN CAST(0 AS DECIMAL(18, 6))
            ELSE CAST(CAST(m.volunteer_minutes AS DECIMAL(14, 4)) * CAST(h.hour_value AS DECIMAL(12, 6)) / CAST(60 AS DECIMAL(2, 0)) AS DECIMAL(18, 6))
            END AS hours_value
FROM activity_metrics m
LEFT JOIN hour_values h ON h.year = CAST(date_part('year', m.period_start) AS BIGINT);

-- All parts of a company's period in one row. Each part has at most one row for a period.
CREATE VIEW metric_parts AS
SELECT a.company_id, a.period_kind, a.period_start, a.period_end, a.participants_count, a.volunteers_count, a.sessions_count,
       CAST(a.volunteer_minutes AS DECIMAL(14, 4)) AS minutes, a.hours_value,
       p.avg_integration_score, p.avg_language_level, p.outcome_lift, p.placement_rate,
       s.confidence, s.belonging, s.lang_level_proxy, s.job_readiness, s.well_being,
       CAST(coalesce(v.social_value, 0) AS DECIMAL(18, 2)) AS social_value,
       CAST(coalesce(c.programme_cost, 0) AS DECIMAL(18, 2)) AS programme_cost
FROM hour_metrics a
LEFT JOIN participant_metrics p ON p.company_id = a.company_id AND p.period_kind = a.period_kind AND p.period_start = a.period_start
LEFT JOIN score_means s ON s.company_id = a.company_id AND s.period_kind = a.period_kind AND s.period_start = a.period_start
LEFT JOIN value_metrics v ON v.company_id = a.company_id AND v.period_kind = a.period_kind AND v.period_start = a.period_start
LEFT JOIN cost_metrics c ON c.company_id = a.company_id AND c.period_kind = a.period_kind AND c.period_start = a.period_start;

CREATE VIEW metric_sums AS
SELECT *, CAST(minutes / CAST(60 AS DECIMAL(2, 0)) AS DECIMAL(18, 4)) AS exact_hours,
       CAST(hours_value + programme_cost AS DECIMAL(18, 2)) AS investment,
       -- The mean of those of the four dimensions that have scores.
       CAST((coalesce(confidence, 0) + coalesce(belonging, 0) + coalesce(well_being, 0) + coalesce(job_readiness, 0))
            / CAST(nullif(CASE WHEN confidence IS NULL THEN 0 ELSE 1 END + CASE WHEN belonging IS NULL THEN 0 ELSE 1 END
                        + CASE WHEN well_being IS NULL THEN 0 ELSE 1 END + CASE WHEN job_readiness IS NULL THEN 0 ELSE 1 END, 0)
                   AS DECIMAL(2, 0)) AS DECIMAL(9, 4)) AS quality
FROM metric_parts;

CREATE VIEW company_periods AS
SELECT company_id, period_kind, period_start, period_end, participants_count, volunteers_count, sessions_count,
       CAST(exact_hours AS DECIMAL(14, 2)) AS hours, avg_integration_score, avg_language_level,
       CAST(job_readiness AS DECIMAL(4, 3)) AS avg_job_readiness, CAST(confidence AS DECIMAL(4, 3)) AS avg_confidence,
       CAST(belonging AS DECIMAL(4, 3)) AS avg_belonging, CAST(lang_level_proxy AS DECIMAL(4, 3)) AS avg_lang_level_proxy,
       CAST(well_being AS DECIMAL(4, 3)) AS avg_well_being, outcome_lift, placement_rate, social_value, investment,
       CAST(sroi_ratio(social_value, investment) AS DECIMAL(12, 2)) AS sroi_ratio,
       CAST(vis_score(exact_hours, quality, outcome_lift, placement_rate) AS DECIMAL(6, 2)) AS vis_score,
       'GBP' AS currency, 'sroi/2 vis/1 integration/1' AS formula_version
FROM metric_sums;

CREATE TABLE metrics_company_period (
    company_id TEXT, period_kind TEXT, period_start TIMESTAMP, period_end TIMESTAMP, participants_count BIGINT,
    volunteers_count BIGINT, sessions_count BIGINT, hours DECIMAL(14, 2), avg_integration_score DECIMAL(5, 1),
    avg_language_level DECIMAL(4, 3), avg_job_readiness DECIMAL(4, 3), avg_confidence DECIMAL(4, 3), avg_belonging DECIMAL(4, 3),
    avg_lang_level_proxy DECIMAL(4, 3), avg_well_being DECIMAL(4, 3), outcome_lift DECIMAL(5, 4), placement_rate DECIMAL(5, 4),
    social_value DECIMAL(18, 2), investment DECIMAL(18, 2), sroi_ratio DECIMAL(12, 2), vis_score DECIMAL(6, 2), currency TEXT,
    formula_version TEXT,
    PRIMARY KEY (company_id, period_kind, period_start)
) WITH (connector = 'sqlite', path = '${store}', on_start = 'replace');
INSERT INTO metrics_company_period SELECT * FROM company_periods;

-- The same numbers, one a row, each with an id that its lineage is asked by.
CREATE VIEW named_values AS
SELECT company_id, period_kind, period_start, period_end, m['metric'] AS metric, m['value'] AS value, m['formula'] AS formula_version
FROM (
    SELECT company_id, period_kind, period_start, period_end, unnest(make_array(
        named_struct('metric', 'participants_count', 'value', CAST(participants_count AS DECIMAL(18, 4)), 'formula', 'count/1'),
        named_struct('metric', 'volunteers_count', 'value', CAST(volunteers_count AS DECIMAL(18, 4)), 'formula', 'count/1'),
        named_struct('metric', 'sessions_count', 'value', CAST(sessions_count AS DECIMAL(18, 4)), 'formula', 'count/1'),
        named_struct('metric', 'hours', 'value', CAST(hours AS DECIMAL(18, 4)), 'formula', 'hours/1'),
        named_struct('metric', 'avg_integration_score', 'value', CAST(avg_integration_score AS DECIMAL(18, 4)), 'formula', 'integration/1'),
        named_struct('metric', 'avg_language_level', 'value', CAST(avg_language_level AS DECIMAL(18, 4)), 'formula', 'integration/1'),
        named_struct('metric', 'avg_job_readiness', 'value', CAST(avg_job_readiness AS DECIMAL(18, 4)), 'formula', 'mean/1'),
        named_struct('metric', 'avg_confidence', 'value', CAST(avg_confidence AS DECIMAL(18, 4)), 'formula', 'mean/1'),
        named_struct('metric', 'avg_belonging', 'value', CAST(avg_belonging AS DECIMAL(18, 4)), 'formula', 'mean/1'),
        named_struct('metric', 'avg_lang_level_proxy', 'value', CAST(avg_lang_level_proxy AS DECIMAL(18, 4)), 'formula', 'mean/1'),
        named_struct('metric', 'avg_well_being', 'value', CAST(avg_well_being AS DECIMAL(18, 4)), 'formula', 'mean/1'),
        named_struct('metric', 'outcome_lift', 'value', CAST(outcome_lift AS DECIMAL(18, 4)), 'formula', 'vis/1'),
        named_struct('metric', 'placement_rate', 'value', CAST(placement_rate AS DECIMAL(18, 4)), 'formula', 'vis/1'),
        named_struct('metric', 'social_value', 'value', CAST(social_value AS DECIMAL(18, 4)), 'formula', 'sroi/2'),
        named_struct('metric', 'investment', 'value', CAST(investment AS DECIMAL(18, 4)), 'formula', 'sroi/2'),
        named_struct('metric', 'sroi_ratio', 'value', CAST(sroi_ratio AS DECIMAL(18, 4)), 'formula', 'sroi/2'),
        named_struct('metric', 'vis_score', 'value', CAST(vis_score AS DECIMAL(18, 4)), 'formula', 'vis/1')
    )) AS m
    FROM company_periods
) AS unnested;

CREATE TABLE metric_values (
    metric_id TEXT, company_id TEXT, period_kind TEXT, period_start TIMESTAMP, period_end TIMESTAMP, metric TEXT,
    value DECIMAL(18, 4), formula_version TEXT,
    PRIMARY KEY (metric_id)
) WITH (connector = 'sqlite', path = '${store}', on_start = 'replace');
INSERT INTO metric_values
SELECT metric_id(company_id, period_kind, period_start, metric, formula_version), company_id, period_kind, period_start, period_end,
       metric, value, formula_version
FROM named_values WHERE value IS NOT NULL;
