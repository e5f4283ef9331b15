-- Nexmark q3, local item suggestion: who sells in category 10 in Oregon, Idaho and California? An updating join of
-- two streams by seller. The generator writes states in small letters.

CREATE TABLE auction (WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds')
WITH (connector = 'nexmark', table = 'auction', events = '100000', seed = '0', rate = '1000');
CREATE TABLE person (WATERMARK FOR date_time AS date_time - INTERVAL '4 seconds')
WITH (connector = 'nexmark', table = 'person', events = '100000', seed = '0', rate = '1000');
CREATE TABLE result WITH (connector = 'stdout');

INSERT INTO result
SELECT p.name, p.city, p.state, a.id
FROM auction a JOIN person p ON a.seller = p.id
WHERE a.category = 10 AND p.state IN ('or', 'id', 'ca');
