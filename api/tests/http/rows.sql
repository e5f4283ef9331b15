-- Two companies; the second has the same sentence as the first. m-a-* and m-b-* are metric ids.
INSERT INTO companies VALUES
    ('aaaaaaaa-0000-4000-8000-000000000001', 'Fjord AS', '2026-01-01T00:00:00Z', '2026-02-01T00:00:00Z'),
    ('bbbbbbbb-0000-4000-8000-000000000002', '50% Rabatt', '2026-01-01T00:00:00Z', '2026-02-01T00:00:00Z'),
    ('cccccccc-0000-4000-8000-000000000003', 'Empty Ltd', '2026-01-01T00:00:00Z', '2026-02-01T00:00:00Z');
INSERT INTO metric_values VALUES
    ('m-a-sroi-q1', 'aaaaaaaa-0000-4000-8000-000000000001', 'quarter', '2026-01-01T00:00:00Z', '2026-04-01T00:00:00Z', 'sroi_ratio', 2.5, 'sroi/2'),
    ('m-a-sroi-01', 'aaaaaaaa-0000-4000-8000-000000000001', 'month', '2026-01-01T00:00:00Z', '2026-02-01T00:00:00Z', 'sroi_ratio', 3, 'sroi/2'),
    ('m-a-sroi-02', 'aaaaaaaa-0000-4000-8000-000000000001', 'month', '2026-02-01T00:00:00Z', '2026-03-01T00:00:00Z', 'sroi_ratio', 2, 'sroi/2'),
    ('m-a-value-02', 'aaaaaaaa-0000-4000-8000-000000000001', 'month', '2026-02-01T00:00:00Z', '2026-03-01T00:00:00Z', 'social_value', 1000.25, 'sroi/2'),
    ('m-a-vis-02', 'aaaaaaaa-0000-4000-8000-000000000001', 'month', '2026-02-01T00:00:00Z', '2026-03-01T00:00:00Z', 'vis_score', 49.25, 'vis/1'),
    ('m-a-conf-02', 'aaaaaaaa-0000-4000-8000-000000000001', 'month', '2026-02-01T00:00:00Z', '2026-03-01T00:00:00Z', 'avg_confidence', 0.8, 'q2q/1'),
    ('m-b-vis-02', 'bbbbbbbb-0000-4000-8000-000000000002', 'month', '2026-02-01T00:00:00Z', '2026-03-01T00:00:00Z', 'vis_score', 11, 'vis/1');
INSERT INTO metrics_company_period (company_id, period_kind, period_start, period_end, participants_count,
    volunteers_count, sessions_count, hours, social_value, investment, sroi_ratio, vis_score, currency, formula_version) VALUES
    ('aaaaaaaa-0000-4000-8000-000000000001', 'month', '2026-02-01T00:00:00Z', '2026-03-01T00:00:00Z', 2, 1, 3, 1.5, 1000.25, 500, 2, 49.25, 'EUR', 'metrics/1'),
    ('aaaaaaaa-0000-4000-8000-000000000001', 'month', '2026-01-01T00:00:00Z', '2026-02-01T00:00:00Z', 1, 1, 1, 1, 0, 0, NULL, NULL, 'EUR', 'metrics/1'),
    ('aaaaaaaa-0000-4000-8000-000000000001', 'quarter', '2026-01-01T00:00:00Z', '2026-04-01T00:00:00Z', 2, 1, 4, 2.5, 1000.25, 500, 2, 49.25, 'EUR', 'metrics/1'),
    ('bbbbbbbb-0000-4000-8000-000000000002', 'month', '2026-02-01T00:00:00Z', '2026-03-01T00:00:00Z', 9, 9, 9, 9, 9, 9, 1, 11, 'EUR', 'metrics/1');
INSERT INTO texts (text_id, event_id, company_id, user_id, author_role, text_type, created_at, text, decision, language, abstained) VALUES
    ('t-a1', 'e-a1', 'aaaaaaaa-0000-4000-8000-000000000001', 'u1', 'participant', 'buddy_feedback', '2026-02-10T10:00:00Z', 'Well. I feel confident now.', 'allow', 'en', 0),
    ('t-a2', 'e-a2', 'aaaaaaaa-0000-4000-8000-000000000001', 'u2', 'participant', 'checkin_note', '2026-02-11T10:00:00.5Z', 'Jeg er alene 100_% av tiden.', 'allow', 'no', 0),
    ('t-b1', 'e-b1', 'bbbbbbbb-0000-4000-8000-000000000002', 'u3', 'participant', 'buddy_feedback', '2026-02-10T10:00:00Z', 'Well. I feel confident now.', 'allow', 'en', 0);
INSERT INTO outcome_scores VALUES
    ('t-a1', 'confidence', 'e-a1', 'aaaaaaaa-0000-4000-8000-000000000001', 'u1', 'participant', 'buddy_feedback', 0.8, NULL, 0, 'lexicon', 'lexicon/1', 'en', '2026-02-10T10:00:00Z'),
    ('t-a1', 'belonging', 'e-a1', 'aaaaaaaa-0000-4000-8000-000000000001', 'u1', 'participant', 'buddy_feedback', 0.5, NULL, 0, 'lexicon', 'lexicon/1', 'en', '2026-02-10T10:00:00Z'),
    ('t-a2', 'well_being', 'e-a2', 'aaaaaaaa-0000-4000-8000-000000000001', 'u2', 'participant', 'checkin_note', 0.75, NULL, 0, 'lexicon', 'lexicon/1', 'no', '2026-02-11T10:00:00.5Z'),
    ('t-b1', 'confidence', 'e-b1', 'bbbbbbbb-0000-4000-8000-000000000002', 'u3', 'participant', 'buddy_feedback', 0.8, NULL, 0, 'lexicon', 'lexicon/1', 'en', '2026-02-10T10:00:00Z');
INSERT INTO evidence_snippets VALUES
    ('s-a1', 'aaaaaaaa-0000-4000-8000-000000000001', 'h', 't-a1', 'e-a1', 'u1', 'buddy_feedback', 'confidence_increase', 6, 27, 'I feel confident now.', 'r', '2026-02-10T10:00:00Z'),
    ('s-a2', 'aaaaaaaa-0000-4000-8000-000000000001', 'h2', 't-a2', 'e-a2', 'u2', 'checkin_note', 'isolation', 0, 28, 'Jeg er alene 100_% av tiden.', 'r', '2026-02-11T10:00:00.5Z'),
    ('s-b1', 'bbbbbbbb-0000-4000-8000-000000000002', 'h', 't-b1', 'e-b1', 'u3', 'buddy_feedback', 'confidence_increase', 6, 27, 'I feel confident now.', 'r', '2026-02-10T10:00:00Z');
INSERT INTO dead_letters VALUES
    ('missing_field', 'no rating', 'data.rating', 'feedback', 'buddy.feedback.submitted/00000001.jsonl:0',
     '{"type":"buddy.feedback.submitted","data":{"feedbackId":"f1"},"metadata":{"id":"e-1","metadata":{"companyId":"aaaaaaaa-0000-4000-8000-000000000001"}}}', '2026-02-01T00:00:00Z'),
    ('missing_field', 'no rating', 'data.rating', 'feedback', 'buddy.feedback.submitted/00000001.jsonl:99',
     '{"type":"buddy.feedback.submitted","data":{"feedbackId":"f2"},"metadata":{"id":"e-2","metadata":{"companyId":"BBBBBBBB-0000-4000-8000-000000000002"}}}', '2026-02-02T00:00:00Z'),
    ('undecodable', 'not JSON', '', 'http:aaaaaaaa-0000-4000-8000-000000000001', 'buddy.checkin.completed/ab:3', '{"broken', '2026-02-03T00:00:00Z'),
    ('E003', 'no date', 'date', 'kintell', 'sessions.csv:17', 'x,y,z', '2026-02-05T00:00:00Z');
