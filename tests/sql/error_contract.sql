-- error: line 4, column 5
-- error: there is no contract 'buddy.feedback.submited'
CREATE TABLE k WITH (connector = 'inbox', path = 'inbox',
    contract = 'buddy.feedback.submited');
SELECT rating FROM k;
