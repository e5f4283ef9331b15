//! Sentences that differ in a word or two, and what those words do to the meaning. Topics are left out of the answers.

use headwater_text::{Label, classify};
use std::collections::BTreeSet;

const IS_TOPIC: &str = "topic_";

fn labels(text: &str) -> String {
    let answer = classify(text, None);
    assert!(!answer.abstained, "abstained on: {text}");
    let labels: BTreeSet<Label> = answer.evidence.iter().map(|evidence| evidence.label).collect();
    let names = labels.into_iter().map(Label::name).filter(|name| !name.starts_with(IS_TOPIC));
    names.collect::<Vec<_>>().join(" ")
}

fn check(pairs: &[(&str, &str)]) {
    let wrong: Vec<String> = pairs
        .iter()
        .filter(|(text, expected)| labels(text) != *expected)
        .map(|(text, expected)| format!("{text}\n  expected: {expected}\n  answered: {}", labels(text)))
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), pairs.len(), wrong.join("\n"));
}

const UP: &str = "confidence_increase";
const DOWN: &str = "confidence_decrease";
const IN: &str = "belonging_increase";
const OUT: &str = "belonging_decrease";

#[test]
fn english_negation_turns_confidence_round() {
    check(&[
        ("I feel confident in meetings.", UP),
        ("I don't feel confident in meetings.", DOWN),
        ("I do not feel confident in meetings.", DOWN),
        ("I never feel confident in meetings.", DOWN),
        ("I hardly feel confident in meetings.", DOWN),
        ("I dont feel confident in meetings.", DOWN),
        ("I don\u{2019}t feel confident in meetings.", DOWN),
        ("I feel more confident than before.", UP),
        ("I feel less confident than before.", DOWN),
        ("I no longer feel confident.", DOWN),
        ("I have never felt so confident.", UP),
        ("I have never been more confident.", UP),
        ("I am not only confident, I am happy.", UP),
        ("I lack confidence when I speak.", DOWN),
        ("I don't lack confidence when I speak.", ""),
        ("I am shy in the group.", DOWN),
        ("I am not shy in the group.", ""),
        ("I am no longer shy in the group.", UP),
        ("I am not shy anymore in the group.", UP),
        ("I am less shy in the group.", UP),
        ("I used to be confident at work.", DOWN),
        ("I don't think that I am confident at work.", DOWN),
        ("I can't say that I don't feel confident here.", UP),
        ("Without a doubt I feel confident here.", UP),
    ]);
}

#[test]
fn english_contrast_time_and_wish_limit_what_counts() {
    check(&[
        ("I did not like the room, but I feel confident.", UP),
        ("I am not confident, but I feel welcome here.", "confidence_decrease belonging_increase"),
        ("I feel welcome here, but I am not confident.", "confidence_decrease belonging_increase"),
        ("At first, I felt lonely, but now I feel at home.", IN),
        ("I felt lonely, and now I still feel lonely.", "isolation"),
        ("Before, I was shy; now I speak up.", UP),
        ("I want to feel confident at work.", ""),
        ("I hope to be more confident soon.", ""),
        ("If I were confident, I would call them.", ""),
        ("Do you feel confident at work?", ""),
        ("I was not late because I feel confident in the city.", UP),
        ("I didn't come on Monday and I feel confident again.", UP),
    ]);
}

#[test]
fn english_denied_risks_are_no_cues() {
    check(&[
        ("I feel anxious about the exam.", "anxiety"),
        ("I don't feel anxious about the exam.", ""),
        ("I no longer feel anxious about the exam.", ""),
        ("I feel less anxious about the exam.", ""),
        ("I feel more anxious about the exam.", "anxiety"),
        ("I stopped worrying about the exam.", ""),
        ("I never stopped worrying about the exam.", "anxiety"),
        ("I feel so lonely in this town.", "isolation"),
        ("I don't feel lonely in this town.", ""),
        ("I was bored by the course.", "disengagement"),
        ("I was never bored by the course.", ""),
        ("I am thinking of quitting the course.", "dropout_indication"),
        ("I am not thinking of quitting the course.", ""),
        ("I feel useless at home.", "negative_self_talk"),
        ("I do not feel useless at home.", ""),
        ("I feel that I belong here.", IN),
        ("I don't feel that I belong here.", OUT),
        ("I have made friends in the group.", IN),
        ("I have not made friends in the group.", OUT),
        ("We updated my CV together.", "resume_improvement"),
        ("We have not updated my CV together.", ""),
    ]);
}

#[test]
fn norwegian_negation_contrast_and_shifters() {
    check(&[
        ("Jeg føler meg trygg på jobben.", UP),
        ("Jeg føler meg ikke trygg på jobben.", DOWN),
        ("Jeg føler meg aldri trygg på jobben.", DOWN),
        ("Jeg føler meg ikke trygg lenger på jobben.", DOWN),
        ("Jeg har aldri vært så trygg på jobben.", UP),
        ("Jeg er ikke bare trygg, jeg er glad.", UP),
        ("Jeg er tryggere enn før.", UP),
        ("Jeg er mindre trygg enn før.", DOWN),
        ("Jeg er usikker i samtaler.", DOWN),
        ("Jeg er ikke usikker i samtaler.", ""),
        ("Jeg er ikke lenger usikker i samtaler.", UP),
        ("Jeg er ikke usikker lenger i samtaler.", UP),
        ("Jeg likte ikke rommet, men jeg føler meg trygg.", UP),
        ("Jeg gruer meg til eksamen.", "anxiety"),
        ("Jeg gruer meg ikke til eksamen.", ""),
        ("Jeg gruer meg ikke lenger til eksamen.", ""),
        ("Jeg føler meg ensom her i byen.", "isolation"),
        ("Jeg føler meg ikke ensom her i byen.", ""),
        ("I starten var jeg ensom, men nå føler jeg at jeg hører til.", IN),
        ("Jeg føler at jeg hører til her.", IN),
        ("Jeg føler at jeg ikke hører til her.", OUT),
        ("Jeg har fått nye venner på kurset.", IN),
        ("Jeg har ikke fått nye venner på kurset.", OUT),
        ("Jeg håper å bli mer selvsikker.", ""),
        ("Er du trygg på jobben nå?", ""),
        ("Eg er tryggare no enn før.", UP),
        ("Eg er ikkje trygg på meg sjølv.", DOWN),
        ("Eg kjenner meg ikkje åleine lenger.", IN),
        ("Vi har jobbet med CV-en min i dag.", "resume_improvement"),
        ("Jeg vurderer å slutte på kurset.", "dropout_indication"),
        ("Jeg vurderer ikke å slutte på kurset.", ""),
    ]);
}

#[test]
fn ukrainian_negation_contrast_and_shifters() {
    check(&[
        ("Я почуваюся впевнено на роботі.", UP),
        ("Я не почуваюся впевнено на роботі.", DOWN),
        ("Я ніколи не почуваюся впевнено на роботі.", DOWN),
        ("Я вже не почуваюся впевнено на роботі.", DOWN),
        ("Я ніколи не почувалася так впевнено.", UP),
        ("Я почуваюся впевненіше, ніж раніше.", UP),
        ("Я почуваюся менш впевнено, ніж раніше.", DOWN),
        ("Я не тільки впевнена, а й щаслива.", UP),
        ("Я не думаю, що я впевнена в собі.", DOWN),
        ("Мені не сподобалася кімната, але я почуваюся впевнено.", UP),
        ("Я хвилююся перед іспитом.", "anxiety"),
        ("Я не хвилююся перед іспитом.", ""),
        ("Я вже не хвилююся перед іспитом.", ""),
        ("Я більше не боюся іспиту.", ""),
        ("Я боюся говорити на уроці.", "confidence_decrease anxiety"),
        ("Я більше не боюся говорити на уроці.", UP),
        ("Мені самотньо в цьому місті.", "isolation"),
        ("Мені не самотньо в цьому місті.", ""),
        ("Спочатку мені було самотньо, але тепер у мене є нові друзі.", IN),
        ("У мене тут з'явилися друзі.", IN),
        ("У мене тут не з'явилися друзі.", OUT),
        ("Я хочу бути впевненою.", ""),
        ("Ти почуваєшся впевнено на роботі?", ""),
        ("Ніхто мене не підтримує в цій групі.", "lack_of_support"),
        ("Ми оновили резюме з менторкою.", "resume_improvement"),
        ("Я думаю кинути курс.", "dropout_indication"),
        ("Я не думаю кинути курс.", ""),
    ]);
}

#[test]
fn languages_that_are_not_known_and_texts_that_are_short_get_no_answer() {
    for text in [
        "",
        "ok",
        "very good",
        "👍👍👍",
        "Мне очень понравилось, я уверена в себе",
        "Ich bin jetzt sehr sicher und nicht allein",
    ] {
        let answer = classify(text, None);
        assert!(answer.abstained && answer.evidence.is_empty() && answer.scores.is_empty(), "{text}");
    }
    use headwater_text::Language;
    let short = "Selvsikker, glad, fornøyd";
    assert!(
        !classify(short, Some(Language::Bokmal)).abstained,
        "a declared language decides where the text says little"
    );
    assert!(classify("Ich bin jetzt sehr sicher und nicht allein", Some(Language::English)).abstained);
}
