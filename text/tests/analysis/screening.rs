//! Screening: nothing with valid check digits gets through, nothing clean is touched, and the result screens to itself.

use crate::generated::{
    card, iban, nhs, norwegian_account, norwegian_organisation, norwegian_person, ukrainian_taxpayer,
};
use headwater_text::screen::PiiKind;
use headwater_text::{Action, Policy, Screener, screen};
use proptest::prelude::*;

const CLEAN: &str = include_str!("clean.txt");

#[test]
fn clean_sentences_are_left_alone() {
    let sentences: Vec<&str> = CLEAN.lines().filter(|line| !line.is_empty()).collect();
    assert!(sentences.len() >= 200, "only {} sentences", sentences.len());
    let touched: Vec<String> = sentences
        .iter()
        .map(|sentence| (sentence, screen(sentence)))
        .filter(|(_, answer)| !answer.findings.is_empty() || answer.decision != Action::Allow)
        .map(|(sentence, answer)| format!("{sentence}\n  {}  {:?}", answer.text, answer.categories))
        .collect();
    assert!(touched.is_empty(), "{}", touched.join("\n"));
}

#[test]
fn each_kind_is_replaced_by_its_placeholder() {
    for (text, expected) in [
        ("Skriv til Ola.Nordmann@mail.no!", "Skriv til [EMAIL_1]!"),
        ("a@b.no, c@d.no, A@B.no", "[EMAIL_1], [EMAIL_2], [EMAIL_1]"),
        ("Ring meg på 412 34 567 i morgen", "Ring meg på [PHONE_1] i morgen"),
        ("Mobil: 91234567", "Mobil: [PHONE_1]"),
        ("Call +47 22 33 44 55 or 0047 22334455", "Call [PHONE_1] or [PHONE_2]"),
        ("Мій номер 067 123 45 67, дзвоніть", "Мій номер [PHONE_1], дзвоніть"),
        ("Мій телефон (050) 123-45-67.", "Мій телефон [PHONE_1]."),
        ("+380 (67) 123-45-67", "[PHONE_1]"),
        ("Text 07700 900123 please", "Text [PHONE_1] please"),
        ("The office is 020 7946 0958", "The office is [PHONE_1]"),
        ("Call me: (415) 555-2671", "Call me: [PHONE_1]"),
        ("Card 4111 1111 1111 1111 exp 12/27", "Card [CARD_1] exp 12/27"),
        ("4111-1111-1111-1111", "[CARD_1]"),
        ("IBAN: NO93 8601 1117 947.", "IBAN: [IBAN_1]."),
        ("Mitt fødselsnummer er 140877 26100", "Mitt fødselsnummer er [NATIONAL_ID_1]"),
        ("15108695088 og 31129956715", "[NATIONAL_ID_1] og [NATIONAL_ID_2]"),
        ("Kontonr. 8601.11.17947", "Kontonr. [ACCOUNT_1]"),
        ("Org.nr. 974 760 673", "Org.nr. [ORGANISATION_1]"),
        ("РНОКПП 1759013776", "РНОКПП [NATIONAL_ID_1]"),
        ("NHS number 943 476 5919", "NHS number [NATIONAL_ID_1]"),
        ("NI number AB 12 34 56 C", "NI number [NATIONAL_ID_1]"),
        ("My SSN is 219-09-9999", "My SSN is [NATIONAL_ID_1]"),
        ("ITIN 900-70-0000", "ITIN [NATIONAL_ID_1]"),
        ("ola\u{200b}@mail.no", "[EMAIL_1]"),
        ("4111\u{a0}1111\u{a0}1111\u{a0}1111", "[CARD_1]"),
        ("4111\u{2011}1111\u{2011}1111\u{2011}1111", "[CARD_1]"),
    ] {
        assert_eq!(screen(text).text, expected, "{text}");
    }
}

#[test]
fn offsets_lead_to_the_value_and_back() {
    let text = "Hei \u{1f44b}\u{1f3fd}, skriv til ola@mail.no eller kari@mail.no";
    let answer = screen(text);
    let values: Vec<&str> = answer.findings.iter().map(|finding| &text[finding.start..finding.end]).collect();
    assert_eq!(values, ["ola@mail.no", "kari@mail.no"]);
    for finding in &answer.findings {
        let at = answer.text.find(&finding.placeholder).unwrap();
        let back = answer.offsets.source_range(at..at + finding.placeholder.len());
        assert_eq!(back, finding.start..finding.end);
    }
}

#[test]
fn a_second_screening_goes_on_counting() {
    let once = screen("a@b.no").text;
    assert_eq!(screen(&format!("{once} and c@d.no")).text, "[EMAIL_1] and [EMAIL_2]");
}

#[test]
fn cries_for_help_go_to_a_person_first() {
    let answer = screen("Jeg vil ta livet mitt. Ring 412 34 567");
    assert_eq!((answer.decision, answer.priority), (Action::Review, true));
    assert_eq!(answer.text, "Jeg vil ta livet mitt. Ring [PHONE_1]");
    let answer = screen("he said: I know where you live");
    assert_eq!((answer.decision, answer.priority), (Action::Review, false));
}

#[test]
fn a_policy_can_allow_a_value_and_keep_a_kind() {
    let policy = "version = 'mine'\n[pii.default]\naction = 'review'\nredact = true\n[pii.kinds.organisation_no]\n\
                  action = 'allow'\nredact = false\n[harm]\ndefault = 'block'\n[harm.categories]\n'self-harm' = 'review'\n\
                  'self-harm/intent' = 'review'\n'self-harm/instructions' = 'review'\n[allow]\nvalues = ['help@mail.no']";
    let screener = Screener::new(Policy::from_toml(policy).unwrap());
    let answer = screener.screen("HELP@mail.no, org.nr. 974 760 673");
    assert_eq!((answer.text.as_str(), answer.decision), ("HELP@mail.no, org.nr. 974 760 673", Action::Allow));
    assert_eq!(answer.findings[0].kind, PiiKind::OrganisationNo);
    assert_eq!(screener.screen("me@mail.no").decision, Action::Review);
    assert_eq!(screener.screen("I will kill you").decision, Action::Block);
}

fn found(text: &str, value: &str, kind: PiiKind) -> bool {
    let answer = screen(text);
    !answer.text.contains(value)
        && answer.findings.iter().any(|finding| finding.kind == kind && text[finding.start..finding.end] == *value)
}

/// A frame of words around a value; `{}` is the place.
fn frame() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "{}",
        "Hei, {} er mitt",
        "it is {}.",
        "({})",
        "Ось: {}, дякую",
        "we met twice, {} and 3 more",
        "\n{}\n",
        "kl 18, {} - hilsen Kari",
        "2 x 60 min; {}!",
    ])
}

proptest! {
    #[test]
    fn check_digits_are_never_missed(
        frame in frame(), card in card(), person in norwegian_person(), iban in iban(), nhs in nhs(),
        taxpayer in ukrainian_taxpayer(), account in norwegian_account(), organisation in norwegian_organisation(),
    ) {
        for (value, kind) in [
            (&card, PiiKind::Card), (&person, PiiKind::NationalIdNo), (&iban, PiiKind::Iban),
        ] {
            let text = frame.replace("{}", value);
            prop_assert!(found(&text, value, kind), "{text:?} -> {:?}", screen(&text));
        }
        // Ten digits that pass two rules may be either; both are national numbers, and neither is left in the text.
        for value in [&nhs, &taxpayer] {
            let text = frame.replace("{}", value);
            let answer = screen(&text);
            prop_assert!(!answer.text.contains(value.as_str()) && answer.findings.len() == 1, "{text:?} -> {answer:?}");
        }
        for (context, value) in [("kontonummer", &account), ("org.nr.", &organisation)] {
            let text = frame.replace("{}", &format!("{context} {value}"));
            prop_assert!(!screen(&text).text.contains(value.as_str()), "{text:?}");
        }
    }

    #[test]
    fn the_result_screens_to_itself(
        parts in prop::collection::vec(prop_oneof![
            card(), norwegian_person(), nhs(), iban(), norwegian_account(),
            "[0-9]{1,12}", "[ .+()/-]{1,2}", "[a-zæøåії]{1,6}", "[a-z]{1,3}@[a-z]{1,3}\\.(no|com)",
            prop::sample::select(vec!["ring", "card", "konto", "order", "[PHONE_7]", "\u{200b}", "\u{a0}", "\n", "@", "NO", "+47"])
                .prop_map(str::to_owned),
        ], 0..14),
        gaps in prop::collection::vec(any::<bool>(), 14),
    ) {
        let text: String = parts.iter().zip(gaps).flat_map(|(part, gap)| [part.as_str(), if gap { " " } else { "" }]).collect();
        let once = screen(&text);
        let twice = screen(&once.text);
        prop_assert_eq!(&twice.text, &once.text);
        prop_assert!(twice.findings.is_empty(), "grew {:?} from {:?}", twice.findings, text);
        prop_assert_eq!(&once, &screen(&text));
        // One value has one placeholder and one placeholder has one value.
        for a in &once.findings {
            for b in &once.findings {
                let value = |f: &headwater_text::Finding| {
                    let plain = headwater_text::normalize(&text[f.start..f.end]).text.to_lowercase();
                    if plain.contains('@') { plain } else { plain.chars().filter(|c| c.is_alphanumeric()).collect() }
                };
                let same = a.kind == b.kind && value(a) == value(b);
                prop_assert_eq!(same, a.placeholder == b.placeholder);
            }
        }
    }

    #[test]
    fn every_text_has_an_answer(text in "\\PC{0,120}") {
        let answer = screen(&text);
        prop_assert_eq!(answer.offsets.output_len(), answer.text.len());
        prop_assert_eq!(answer.offsets.source_len(), text.len());
    }
}
