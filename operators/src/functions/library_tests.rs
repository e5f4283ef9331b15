//! The functions of the library as users call them: through SQL, over constants, columns and nulls.

use super::all;
use arrow::array::{Array, ArrayRef};
use arrow::util::display::array_value_to_string;
use datafusion::prelude::{SessionConfig, SessionContext};
use tokio::runtime::Builder;

fn context() -> SessionContext {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    for function in all() {
        context.register_udf(function.as_ref().clone());
    }
    context
}

/// Returns the first column of an answer as texts; null is `∅`.
fn column(sql: &str) -> Result<Vec<String>, String> {
    let context = context();
    let answer = async {
        let frame = context.sql(sql).await.map_err(|error| error.to_string())?;
        frame.collect().await.map_err(|error| error.to_string())
    };
    let batches = Builder::new_current_thread().build().expect("a runtime").block_on(answer)?;
    let columns: Vec<ArrayRef> = batches.iter().map(|batch| batch.column(0).clone()).collect();
    let shown = |column: &ArrayRef, row| match column.is_null(row) {
        true => "∅".to_owned(),
        false => array_value_to_string(column, row).unwrap(),
    };
    Ok(columns.iter().flat_map(|column| (0..column.len()).map(move |row| shown(column, row))).collect())
}

/// Checks calls against their answers.
fn check(calls: &[(&str, &str)]) {
    let mut wrong = String::new();
    for (call, expected) in calls {
        let found = column(&format!("SELECT {call}")).map(|rows| rows.join("|")).unwrap_or_else(|error| error);
        if found != *expected {
            wrong.push_str(&format!("{call}\n  expected {expected}\n  found    {found}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn times_become_text_by_the_patterns_of_three_worlds() {
    check(&[
        ("to_char(TIMESTAMP '2026-03-07 14:05:09', 'YYYY-MM-DD HH24:MI:SS')", "2026-03-07 14:05:09"),
        ("to_char(DATE '2026-03-07', 'FMDDth FMMonth YYYY')", "7th March 2026"),
        ("to_char('2026-03-07T14:05:09', 'HH12:MI pm')", "02:05 pm"),
        ("to_char(TIMESTAMP '2026-03-07 14:05:09', '%d.%m.%Y')", "07.03.2026"),
        ("to_char(1234567.891, 'FM9,999,999.00')", "1,234,567.89"),
        ("to_char(485, '999')", " 485"),
        ("to_char(CAST(-0.1 AS DOUBLE), '99.99')", "  -.10"),
        ("to_char(CAST(12 AS SMALLINT), '00000')", " 00012"),
        ("to_char(NULL, 'YYYY')", "∅"),
        ("date_format(TIMESTAMP '2026-03-07 14:05:09', 'yyyy-MM-dd HH:mm')", "2026-03-07 14:05"),
        ("date_format(TIMESTAMP '2026-03-07 14:05:09', '%H:%M')", "14:05"),
        ("from_unixtime(1772892309)", "2026-03-07T14:05:09"),
        ("from_unixtime(1772892309, 'yyyy-MM-dd')", "2026-03-07"),
    ]);
}

#[test]
fn text_becomes_time() {
    check(&[
        ("to_timestamp('2026-03-07 14:05:09')", "2026-03-07T14:05:09"),
        ("to_timestamp('07.03.2026 14:05', 'DD.MM.YYYY HH24:MI')", "2026-03-07T14:05:00"),
        ("to_timestamp('07.03.2026 14:05', 'dd.MM.yyyy HH:mm')", "2026-03-07T14:05:00"),
        ("to_timestamp('07.03.2026', '%d.%m.%Y')", "2026-03-07T00:00:00"),
        ("to_timestamp(1772892309)", "2026-03-07T14:05:09"),
        ("to_timestamp(1772892309.25)", "2026-03-07T14:05:09.250"),
        ("to_timestamp(TIMESTAMP '2026-03-07 14:05:09')", "2026-03-07T14:05:09"),
        ("try_to_timestamp('soon', 'YYYY-MM-DD')", "∅"),
        ("try_to_timestamp('soon')", "∅"),
        ("to_date('07/03/2026', 'DD/MM/YYYY')", "2026-03-07"),
        ("to_date('2026-03-07')", "2026-03-07"),
        ("to_date(20519)", "2026-03-07"),
        ("try_to_date('2026-02-30', 'YYYY-MM-DD')", "∅"),
        ("unix_timestamp(TIMESTAMP '2026-03-07 14:05:09')", "1772892309"),
        ("unix_timestamp('2026-03-07 14:05:09')", "1772892309"),
        ("unix_timestamp('07/03/2026', 'dd/MM/yyyy')", "1772841600"),
        ("unix_timestamp(TIMESTAMP '1969-12-31 23:59:59.5')", "-1"),
        ("to_timestamp_ltz(1772892309, 0)", "2026-03-07T14:05:09"),
        ("to_timestamp_ltz(1772892309250, 3)", "2026-03-07T14:05:09.250"),
        ("make_timestamp(2026, 3, 7, 14, 5, 9.25)", "2026-03-07T14:05:09.250"),
        ("TIMESTAMP '2026-01-31' + make_interval(0, 1)", "2026-02-28T00:00:00"),
        ("TIMESTAMP '2026-01-31' + make_interval(0, 0, 1, 2, 3, 4, 5.5)", "2026-02-09T03:04:05.500"),
    ]);
}

#[test]
fn parts_of_times_and_arithmetic() {
    check(&[
        ("year(TIMESTAMP '2026-03-07 14:05:09')", "2026"),
        ("quarter(DATE '2026-03-07') * 10 + month(DATE '2026-03-07')", "13"),
        ("dayofmonth('2026-03-07')", "7"),
        ("dayofweek(DATE '2026-03-07')", "7"),
        ("dayofyear(DATE '2026-03-07')", "66"),
        ("week(DATE '2026-03-07')", "10"),
        ("hour(TIMESTAMP '2026-03-07 14:05:09') * 10000 + minute(TIMESTAMP '2026-03-07 14:05:09') * 100", "140500"),
        ("last_day(DATE '2028-02-03')", "2028-02-29"),
        ("timestampadd('month', 1, TIMESTAMP '2026-01-31')", "2026-02-28T00:00:00"),
        ("timestampadd('DAY', -1, TIMESTAMP '2026-03-01 10:00:00')", "2026-02-28T10:00:00"),
        ("timestampdiff('day', TIMESTAMP '2026-03-01 10:00:00', TIMESTAMP '2026-03-03 09:00:00')", "1"),
        ("timestampdiff('MONTH', DATE '2026-01-31', DATE '2026-03-30')", "1"),
        ("timestampdiff('year', DATE '2026-03-07', DATE '2020-03-08')", "-5"),
        ("timestampdiff('hour', NULL, DATE '2020-03-08')", "∅"),
    ]);
}

#[test]
fn time_zones() {
    check(&[
        ("timezone('Europe/Oslo', TIMESTAMP '2026-07-01 12:00:00')", "2026-07-01T14:00:00"),
        ("timezone('+05:30', TIMESTAMP '2026-07-01 12:00:00')", "2026-07-01T17:30:00"),
        ("from_utc_timestamp(TIMESTAMP '2026-01-01 12:00:00', 'Europe/Oslo')", "2026-01-01T13:00:00"),
        ("to_utc_timestamp(TIMESTAMP '2026-01-01 13:00:00', 'Europe/Oslo')", "2026-01-01T12:00:00"),
        // The clock jumps from 2 to 3 at night, and shows 2:30 twice in autumn.
        ("to_utc_timestamp(TIMESTAMP '2026-03-29 02:30:00', 'Europe/Oslo')", "2026-03-29T01:00:00"),
        ("to_utc_timestamp(TIMESTAMP '2026-10-25 02:30:00', 'Europe/Oslo')", "2026-10-25T00:30:00"),
        ("convert_tz('2026-07-01 12:00:00', 'UTC', 'America/New_York')", "2026-07-01 08:00:00"),
        ("convert_tz('noon', 'UTC', 'America/New_York')", "∅"),
    ]);
}

#[test]
fn texts() {
    check(&[
        ("split_index('a,b,,c', ',', 0)", "a"),
        ("split_index('a,b,,c', ',', 2)", ""),
        ("split_index('a,b,,c', ',', 4)", "∅"),
        ("split_index('a,b', ',', -1)", "∅"),
        ("regexp_extract('order-17-x', '([a-z]+)-(\\d+)', 2)", "17"),
        ("regexp_extract('order-17-x', '[a-z]+-\\d+')", "order-17"),
        ("regexp_extract('nothing', '(\\d+)', 1)", "∅"),
        ("regexp_extract_all('a1 b22 c', '[a-z](\\d+)', 1)", "[1, 22]"),
        ("regexp_split_to_array('a1b22c', '\\d+')", "[a, b, c]"),
        ("locate('ø', 'blåbærgrøt')", "9"),
        ("locate('b', 'blåbær', 2)", "4"),
        ("locate('x', 'blåbær')", "0"),
        ("is_alpha('Grøt')", "true"),
        ("is_alpha('a1')", "false"),
        ("is_digit('123')", "true"),
        ("is_decimal('-1.5')", "true"),
        ("is_decimal(NULL)", "false"),
        ("hex(255)", "FF"),
        ("hex('az')", "617A"),
        ("unhex('617A')", "az"),
        ("unhex('zz')", "∅"),
        ("bin(10)", "1010"),
        ("uuid_generate_v5('dns', 'example.com')", "cfbff0d1-9375-5685-968c-48ce8b15ae17"),
        ("uuid_v5('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 'example.com')", "cfbff0d1-9375-5685-968c-48ce8b15ae17"),
        ("sign(-2.5)", "-1"),
    ]);
    let sql = "SELECT split_index(column1, column2, column3) \
               FROM (VALUES ('a-b', '-', 1), ('c:d', ':', 0), (NULL, '-', 0), ('e-f', NULL, 0), ('g', '-', NULL))";
    assert_eq!(column(sql).unwrap(), ["b", "c", "∅", "∅", "∅"]);
}

#[test]
fn urls_and_hashes() {
    let url = "'https://ola:pw@www.example.no:8080/a/b.html?q=bl%C3%A5+b%C3%A6r&n=1#top'";
    for (part, expected) in [
        ("HOST", "www.example.no"),
        ("PATH", "/a/b.html"),
        ("QUERY", "q=bl%C3%A5+b%C3%A6r&n=1"),
        ("REF", "top"),
        ("PROTOCOL", "https"),
        ("FILE", "/a/b.html?q=bl%C3%A5+b%C3%A6r&n=1"),
        ("AUTHORITY", "ola:pw@www.example.no:8080"),
        ("USERINFO", "ola:pw"),
    ] {
        check(&[(&format!("parse_url({url}, '{part}')"), expected)]);
    }
    check(&[
        (&format!("parse_url({url}, 'QUERY', 'q')"), "blå bær"),
        (&format!("parse_url({url}, 'QUERY', 'x')"), "∅"),
        ("parse_url('no url', 'HOST')", "∅"),
        (&format!("url_extract_host({url}) || url_extract_protocol({url})"), "www.example.nohttps"),
        (&format!("url_extract_port({url})"), "8080"),
        (&format!("url_extract_parameter({url}, 'n')"), "1"),
        ("url_extract_query('https://a.no/')", "∅"),
        ("url_encode('blå bær & co.')", "bl%C3%A5+b%C3%A6r+%26+co."),
        ("url_decode('bl%C3%A5+b%C3%A6r+%26+co.')", "blå bær & co."),
        ("url_decode('100%')", "∅"),
        ("is_url('https://a.no')", "true"),
        ("sha1('abc')", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        ("sha2('abc', 256)", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("sha2('abc', 224)", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
        ("encode(sha256('abc'), 'hex')", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("md5('abc')", "900150983cd24fb0d6963f7d28e17f72"),
        ("xxhash64('abc')", "4952883123889572249"),
        ("xxhash64(NULL)", "∅"),
    ]);
}

#[test]
fn json() {
    let json =
        r#"'{"name": "Ola", "age": 41, "tags": ["a", "b"], "home": {"city": "Oslo"}, "none": null, "ok": true}'"#;
    for (call, expected) in [
        ("json_value(J, '$.name')", "Ola"),
        ("json_value(J, 'lax $.age')", "41"),
        ("json_value(J, '$.home')", "∅"),
        ("json_value(J, '$.none')", "∅"),
        ("json_value(J, '$.tags[1]')", "b"),
        ("json_value(J, '$.tags[*]')", "∅"),
        ("json_query(J, '$.home')", r#"{"city":"Oslo"}"#),
        ("json_query(J, '$.tags[*]')", r#"["a","b"]"#),
        ("json_query(J, '$.name')", "∅"),
        ("json_exists(J, '$.home.city')", "true"),
        ("json_exists(J, '$.home.street')", "false"),
        ("json_exists(J, '$[?@ == \"Ola\"]')", "true"),
        ("extract_json(J, '$.tags[*]')", r#"["a", "b"]"#),
        ("extract_json_string(J, '$.tags[*]')", "a"),
        ("extract_json_string(J, '$.age')", "∅"),
        ("get_json_object(J, '$.age')", "41"),
        ("get_first_json_object(J, '$.name')", r#""Ola""#),
        ("json_typeof(J) || json_typeof('[1]') || json_typeof('null')", "objectarraynull"),
        ("is_json(J)", "true"),
        ("is_json('{')", "false"),
        ("jsonb_contains(J, '{\"tags\": [\"b\"], \"home\": {}}')", "true"),
        ("jsonb_contains(J, '{\"age\": 42}')", "false"),
        ("jsonb_exists(J, 'age')", "true"),
        ("jsonb_exists('[\"a\"]', 'a')", "true"),
        ("jsonb_exists('{broken', 'a')", "∅"),
        ("jsonb_exists_any(J, make_array('x', 'age'))", "true"),
        ("jsonb_exists_all(J, make_array('x', 'age'))", "false"),
        ("json_array_elements('[1, {\"a\": \"x\"}, \"y\", null]')", r#"[1, {"a":"x"}, "y", null]"#),
        ("json_array_elements_text('[1, \"y\", null]')", "[1, y, ]"),
        ("json_value('{broken', '$.a')", "∅"),
        ("json_exists('{broken', '$.a')", "∅"),
        ("json_array_elements('{}')", "∅"),
    ] {
        check(&[(&call.replace('J', json), expected)]);
    }
}

#[test]
fn json_is_built_of_values() {
    check(&[
        ("to_json(5)", "5"),
        ("to_json('a\"b')", r#""a\"b""#),
        ("to_json(NULL)", "∅"),
        ("to_json(make_array(1, NULL))", "[1,null]"),
        ("to_json(named_struct('a', 1, 'b', 'x'))", r#"{"a":1,"b":"x"}"#),
        ("json_object('a', 1, 'b', json_array('x', NULL, TRUE), 'c', 1.50)", r#"{"a":1,"b":["x",null,true],"c":1.5}"#),
        ("json_object()", "{}"),
        (
            "json_object('t', TIMESTAMP '2026-03-07 14:05:09', 'j', '{\"a\": 1}')",
            r#"{"t":"2026-03-07T14:05:09","j":"{\"a\": 1}"}"#,
        ),
        ("json_unquote('\"a\"') || json_unquote('b')", "ab"),
    ]);
    let sql = "SELECT json_object(column1, column2, 'n', to_json(column2)) FROM (VALUES ('a', 1), ('b', NULL))";
    assert_eq!(column(sql).unwrap(), [r#"{"a":1,"n":1}"#, r#"{"b":null,"n":null}"#]);
}

#[test]
fn wrong_constants_are_found_while_planning_and_wrong_values_while_running() {
    for (call, message) in [
        ("regexp_extract(t, '(', 1)", "in regexp_extract: '(' is not a regular expression"),
        ("date_format(TIMESTAMP '2026-01-01', 'yyyy-MM-ddTHH')", "in date_format: 'T' means nothing"),
        ("json_value(t, 'a.b')", "in json_value: 'a.b' is not a JSON path"),
        ("parse_url(t, 'DOMAIN')", "a URL has no part 'DOMAIN'; its parts are HOST, PATH"),
        ("timezone('Mars/Olympus', TIMESTAMP '2026-01-01')", "there is no time zone 'Mars/Olympus'"),
        ("timestampadd('moon', 1, TIMESTAMP '2026-01-01')", "there is no unit of time 'moon'"),
        ("to_char(5, '9.9.9')", "two decimal points"),
        ("uuid_v5('name', t)", "is no namespace"),
        ("split_index(t)", "split_index takes 3 arguments, not 1"),
        ("json_object('a')", "a value is missing"),
        ("year(TRUE)", "argument 1 of year must be a timestamp, not Boolean"),
        ("to_timestamp(t, 'YYYY-MM-DD')", "'soon' is not a time of the form 'YYYY-MM-DD'"),
        ("sha2(t, 5)", "sha2 has 224, 256, 384 or 512 bits, not 5"),
        ("make_timestamp(2026, 2, 30, 0, 0, 0)", "make_timestamp(2026, 2, 30, 0, 0, 0) is no time"),
    ] {
        let error = column(&format!("SELECT {call} FROM (VALUES ('soon')) AS v(t)")).unwrap_err();
        assert!(error.contains(message), "{call}: {error}");
    }
}
