//! Free text in three languages: sentences of our own in which a classifier has something to find, and personal data
//! that a redactor has to find.
//!
//! Nothing here is taken from a real person: names of mail boxes are drawn from a list, numbers are random with correct
//! check digits. There is no state.

use super::chance::Chance;

/// A language of the programme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    English,
    Norwegian,
    Ukrainian,
}

/// What a text is meant to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Positive,
    Negative,
    /// A phrase whose words say one thing and whose negation or contrast says the other.
    Negated,
    Neutral,
}

const ENGLISH: [&[&str]; 4] = [
    &[
        "I feel more confident speaking up now.",
        "I am much more confident in meetings than before.",
        "I feel like I belong here.",
        "The group made me feel welcome.",
        "I have made new friends and I no longer feel isolated.",
        "We updated my CV together and it looks great.",
        "I practised for a job interview and it went well.",
        "I finally got a certificate for the course.",
        "I have learned new skills that I can use at work.",
        "I met people from the company and built my network.",
        "I understand almost everything in English now.",
        "I am looking for a job and I know what my goals are.",
        "I am happy with the support I get.",
    ],
    &[
        "I feel isolated and I do not know anyone here.",
        "I am frustrated because nothing moves forward.",
        "I feel less confident than last month.",
        "I am anxious about the next interview.",
        "I feel lost and confused about the course.",
        "I am thinking about dropping out.",
        "I am not good enough for this.",
        "Nobody helps me when I ask.",
        "I felt left out at the event.",
        "I have lost interest in the sessions.",
        "It is hard for me to understand English.",
    ],
    &[
        "I am not confident at all when I speak English.",
        "I never feel isolated in this group.",
        "I do not feel like I belong here yet.",
        "I am no longer anxious before a meeting.",
        "The topic was interesting, but I am still not confident.",
        "I used to feel lonely, but now I feel like I belong.",
        "I was not frustrated this time.",
        "I have not updated my CV yet.",
    ],
    &[
        "We met on Tuesday for 60 min in the library.",
        "The session was about numbers, dates and the weather.",
        "Next time we read chapter four.",
        "We used room B1 on the second floor.",
        "The tram was late, so we began ten minutes later.",
        "We talked about order number 20418.",
        "My buddy brought a map of the city.",
        "We had coffee and went for a walk.",
    ],
];

const NORWEGIAN: [&[&str]; 4] = [
    &[
        "Jeg føler meg tryggere når jeg snakker norsk.",
        "Jeg har fått mer selvtillit på jobb.",
        "Jeg føler at jeg hører til her.",
        "Gruppen tok godt imot meg.",
        "Jeg har fått nye venner.",
        "Vi oppdaterte CV-en min sammen.",
        "Jeg øvde til jobbintervju, og det gikk bra.",
        "Jeg fikk kursbevis denne uken.",
        "Jeg har lært nye ferdigheter.",
        "Jeg søker jobb og vet hva målet mitt er.",
        "Jeg forstår nesten alt på norsk nå.",
    ],
    &[
        "Jeg føler meg ensom her.",
        "Jeg er frustrert fordi ingenting skjer.",
        "Jeg er mindre trygg enn før.",
        "Jeg gruer meg til neste intervju.",
        "Jeg er forvirret og skjønner ikke oppgaven.",
        "Jeg vurderer å slutte på kurset.",
        "Jeg er ikke flink nok.",
        "Ingen hjelper meg når jeg spør.",
        "Det er vanskelig for meg å forstå norsk.",
    ],
    &[
        "Jeg er ikke trygg når jeg snakker norsk.",
        "Jeg føler meg aldri ensom i denne gruppen.",
        "Jeg føler ikke at jeg hører til ennå.",
        "Jeg er ikke lenger redd for å spørre.",
        "Temaet var fint, men jeg er fortsatt ikke trygg.",
        "Jeg var ikke frustrert denne gangen.",
    ],
    &[
        "Vi møttes på biblioteket i 60 minutter.",
        "Samtalen handlet om tall og datoer.",
        "Neste gang leser vi kapittel fire.",
        "Vi brukte rom B1 i andre etasje.",
        "Trikken var forsinket, så vi begynte litt senere.",
        "Vi drakk kaffe og gikk en tur.",
    ],
];

const UKRAINIAN: [&[&str]; 4] = [
    &[
        "Я почуваюся впевненіше, коли говорю.",
        "Я стала більш впевненою на роботі.",
        "Я відчуваю, що я тут своя.",
        "Мене тепло прийняли в групі.",
        "Я знайшла нових друзів.",
        "Ми разом оновили моє резюме.",
        "Я готувалася до співбесіди, і все пройшло добре.",
        "Я отримала сертифікат після курсу.",
        "Я здобула нові навички.",
        "Я шукаю роботу і знаю свою мету.",
    ],
    &[
        "Я почуваюся самотньою тут.",
        "Мене дратує, що нічого не змінюється.",
        "Я менш впевнена, ніж раніше.",
        "Я хвилююся перед співбесідою.",
        "Я заплуталася і не розумію завдання.",
        "Я думаю покинути курс.",
        "Мені ніхто не допомагає.",
        "Мені важко розуміти мову.",
    ],
    &[
        "Я зовсім не впевнена, коли говорю.",
        "Я ніколи не почуваюся самотньою в цій групі.",
        "Я ще не відчуваю, що я тут своя.",
        "Тема була цікава, але я досі не впевнена.",
        "Я більше не хвилююся перед зустріччю.",
    ],
    &[
        "Ми зустрілися в бібліотеці на 60 хвилин.",
        "Ми говорили про числа і дати.",
        "Наступного разу читаємо четвертий розділ.",
        "Ми були в кімнаті B1 на другому поверсі.",
        "Ми пили каву і гуляли містом.",
    ],
];

const MAILBOXES: &[&str] =
    &["olena.k", "maria.s", "taras.b", "ingrid.h", "per.olsen", "sam.green", "buddy.help", "noor.a"];

impl Language {
    fn sentences(self, tone: Tone) -> &'static [&'static str] {
        let table = match self {
            Self::English => &ENGLISH,
            Self::Norwegian => &NORWEGIAN,
            Self::Ukrainian => &UKRAINIAN,
        };
        match tone {
            Tone::Positive => table[0],
            Tone::Negative => table[1],
            Tone::Negated => table[2],
            Tone::Neutral => table[3],
        }
    }
}

/// Composes one to three sentences. In about one text in thirty something personal is planted.
pub(super) fn compose(chance: &mut Chance, language: Language, tone: Tone) -> String {
    let mut text = (*chance.pick(language.sentences(tone))).to_owned();
    if chance.percent(45) {
        let neutral = *chance.pick(language.sentences(Tone::Neutral));
        text = if chance.percent(50) { format!("{neutral} {text}") } else { format!("{text} {neutral}") };
    }
    if chance.percent(25) {
        let second = *chance.pick(language.sentences(tone));
        text = format!("{text} {second}");
    }
    if chance.percent(3) {
        text = format!("{text} {}", personal(chance, language));
    }
    text
}

fn personal(chance: &mut Chance, language: Language) -> String {
    let kind = chance.below(4);
    match language {
        Language::English => match kind {
            0 => format!("My e-mail is {}.", email(chance)),
            1 => format!("Call me on +44 7{}.", text_of(&chance.digits(9))),
            2 => format!("I paid with {} last week.", card(chance)),
            _ => format!("Write to {} please.", email(chance)),
        },
        Language::Norwegian => match kind {
            0 => format!("E-posten min er {}.", email(chance)),
            1 => format!("Ring meg på +47 9{}.", text_of(&chance.digits(7))),
            _ => format!("Fødselsnummeret mitt er {}.", norwegian_id(chance)),
        },
        Language::Ukrainian => match kind {
            0 => format!("Моя пошта {}.", email(chance)),
            1 => format!("Мій телефон +380 67 {}.", text_of(&chance.digits(7))),
            _ => format!("Мій ІПН {}.", ukrainian_id(chance)),
        },
    }
}

fn email(chance: &mut Chance) -> String {
    let mailbox = *chance.pick(MAILBOXES);
    format!("{mailbox}{}@example.org", chance.between(1, 99))
}

fn text_of(digits: &[u8]) -> String {
    digits.iter().map(|digit| char::from(b'0' + digit)).collect()
}

fn weighted(digits: &[u8], weights: &[i64]) -> i64 {
    digits.iter().zip(weights).map(|(digit, weight)| i64::from(*digit) * weight).sum()
}

/// Draws a Norwegian national identity number: a date, three digits, two mod-11 control digits.
fn norwegian_id(chance: &mut Chance) -> String {
    loop {
        let (day, month, year) = (chance.between(1, 28), chance.between(1, 12), chance.between(60, 99));
        let mut digits: Vec<u8> = format!("{day:02}{month:02}{year:02}{:03}", chance.between(0, 499))
            .bytes()
            .map(|byte| byte - b'0')
            .collect();
        let first = (11 - weighted(&digits, &[3, 7, 6, 1, 8, 9, 4, 5, 2]) % 11) % 11;
        digits.push(u8::try_from(first).unwrap_or(u8::MAX));
        let second = (11 - weighted(&digits, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11) % 11;
        digits.push(u8::try_from(second).unwrap_or(u8::MAX));
        if first < 10 && second < 10 {
            return text_of(&digits);
        }
    }
}

/// Draws a Ukrainian taxpayer number (RNOKPP): nine digits and a control digit.
fn ukrainian_id(chance: &mut Chance) -> String {
    let mut digits = chance.digits(9);
    let control = weighted(&digits, &[-1, 5, 7, 9, 4, 6, 10, 5, 7]).rem_euclid(11) % 10;
    digits.push(u8::try_from(control).unwrap_or(0));
    text_of(&digits)
}

/// Draws a payment card number of a test range with a correct Luhn digit.
fn card(chance: &mut Chance) -> String {
    let mut digits = vec![4, 1, 1, 1];
    digits.extend(chance.digits(11));
    let sum: u32 = digits
        .iter()
        .enumerate()
        .map(|(place, digit)| {
            let doubled = u32::from(*digit) * if place % 2 == 0 { 2 } else { 1 };
            if doubled > 9 { doubled - 9 } else { doubled }
        })
        .sum();
    digits.push(u8::try_from((10 - sum % 10) % 10).unwrap_or(0));
    let text = text_of(&digits);
    format!("{} {} {} {}", &text[..4], &text[4..8], &text[8..12], &text[12..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planted_numbers_carry_correct_check_digits() {
        let mut chance = Chance::new(7, 0);
        for _ in 0..200 {
            let id: Vec<u8> = norwegian_id(&mut chance).bytes().map(|byte| byte - b'0').collect();
            assert_eq!(weighted(&id, &[3, 7, 6, 1, 8, 9, 4, 5, 2, 1]) % 11, 0);
            assert_eq!(weighted(&id, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1]) % 11, 0);
            let number = card(&mut chance).replace(' ', "");
            let luhn: u32 = number
                .bytes()
                .rev()
                .enumerate()
                .map(|(place, byte)| {
                    let value = u32::from(byte - b'0') * if place % 2 == 1 { 2 } else { 1 };
                    value / 10 + value % 10
                })
                .sum();
            assert_eq!(luhn % 10, 0, "{number}");
        }
    }

    #[test]
    fn the_ukrainian_control_digit_follows_the_known_number() {
        let known = [1, 7, 5, 9, 0, 1, 3, 7, 7];
        assert_eq!(weighted(&known, &[-1, 5, 7, 9, 4, 6, 10, 5, 7]).rem_euclid(11) % 10, 6);
    }
}
