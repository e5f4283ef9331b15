//! A small detector for the languages that the lexicon speaks: English, both written forms of Norwegian, Ukrainian.
//!
//! It decides by script, by letters that only one language has, and by function words. It never guesses: neighbours
//! (Russian, Danish, Swedish, German, …) are recognised in order to be refused. Stateless; reads at most
//! [`WORDS_MAX`] words.

use std::fmt;

/// How many words are read: more change nothing.
const WORDS_MAX: usize = 400;

/// A language that can be classified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Language {
    /// English.
    English,
    /// Norwegian, Bokmål.
    Bokmal,
    /// Norwegian, Nynorsk.
    Nynorsk,
    /// Ukrainian.
    Ukrainian,
}

impl Language {
    /// Returns the ISO 639 code: `en`, `nb`, `nn` or `uk`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Bokmal => "nb",
            Self::Nynorsk => "nn",
            Self::Ukrainian => "uk",
        }
    }

    /// Reads a language tag such as `nb`, `no`, `uk-UA` or `EN`; `None` for any other language.
    #[must_use]
    pub fn from_tag(tag: &str) -> Option<Self> {
        let primary = tag.trim().split(['-', '_']).next().unwrap_or_default();
        match primary.to_ascii_lowercase().as_str() {
            "en" | "eng" => Some(Self::English),
            "no" | "nb" | "nob" | "nor" => Some(Self::Bokmal),
            "nn" | "nno" => Some(Self::Nynorsk),
            "uk" | "ukr" => Some(Self::Ukrainian),
            _ => None,
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// What the text itself says about its language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detected {
    /// It is this one.
    Known(Language),
    /// It is a language that is not supported.
    Foreign,
    /// It says too little.
    Unclear,
}

const ENGLISH: &[&str] = &[
    "the", "and", "to", "of", "my", "is", "was", "it", "that", "have", "had", "with", "this", "are", "we", "but",
    "you", "not", "be", "been", "they", "he", "she", "a", "an", "i'm", "don't", "about", "very", "feel", "now", "more",
    "his", "her", "our", "me", "can", "will", "would", "could", "when", "because", "how", "what", "from", "at", "by",
    "am", "do", "did", "didn't", "can't", "i've", "it's", "than", "after", "before", "no", "still", "never", "much",
];
const BOKMAL: &[&str] = &[
    "jeg", "ikke", "og", "er", "det", "en", "et", "på", "til", "av", "med", "som", "har", "å", "meg", "deg", "seg",
    "vi", "var", "hva", "mye", "veldig", "noe", "noen", "hun", "han", "ble", "blitt", "også", "nå", "fra", "min",
    "mitt", "mine", "hvordan", "kan", "vil", "skal", "etter", "mer", "føler", "være", "om", "den", "de", "for", "ved",
    "men", "fikk", "så", "enn", "når", "aldri", "bedre", "uten", "hvor", "dem", "oss", "gjøre", "bare", "at", "her",
    "ut", "inn", "opp", "meget", "sammen", "alle", "dere", "deres", "får", "takk",
];
const NYNORSK: &[&str] = &[
    "at", "her", "ut", "inn", "opp", "alle", "får", "takk", "eg", "ikkje", "og", "er", "det", "ein", "ei", "eit", "på",
    "til", "av", "med", "som", "har", "å", "meg", "deg", "seg", "me", "vi", "var", "kva", "mykje", "veldig", "noko",
    "nokon", "nokre", "ho", "han", "vart", "blitt", "også", "òg", "no", "frå", "mi", "mitt", "mine", "korleis", "kan",
    "vil", "skal", "etter", "meir", "kjenner", "vere", "om", "den", "dei", "for", "ved", "men", "fekk", "så", "enn",
    "når", "aldri", "betre", "utan", "kvar", "dykk", "oss", "gjere", "berre", "saman", "sjølv", "difor", "heile",
    "lenger",
];
const UKRAINIAN: &[&str] = &[
    "бути",
    "ось",
    "дякую",
    "сьогодні",
    "можна",
    "тому",
    "або",
    "добре",
    "дякуємо",
    "маю",
    "має",
    "роботі",
    "житті",
    "хоча",
    "він",
    "тут",
    "мене",
    "відчуваю",
    "почуваюся",
    "почуваюсь",
    "разом",
    "потрібно",
    "я",
    "не",
    "і",
    "й",
    "та",
    "що",
    "це",
    "мені",
    "мене",
    "дуже",
    "був",
    "була",
    "було",
    "але",
    "ми",
    "він",
    "вона",
    "вони",
    "з",
    "із",
    "зі",
    "у",
    "в",
    "на",
    "до",
    "про",
    "як",
    "мій",
    "моя",
    "моє",
    "мої",
    "щоб",
    "тепер",
    "зараз",
    "більше",
    "вже",
    "ще",
    "коли",
    "бо",
    "після",
    "до",
    "від",
    "для",
    "його",
    "її",
    "нам",
    "нас",
    "себе",
    "собі",
    "можу",
    "хочу",
    "треба",
    "якщо",
    "також",
    "тут",
    "там",
    "ніколи",
    "багато",
    "краще",
    "цей",
    "ця",
    "ці",
    "є",
    "проте",
    "чи",
    "знаю",
    "стало",
    "став",
    "стала",
];
const RUSSIAN: &[&str] = &[
    "что",
    "это",
    "мне",
    "меня",
    "очень",
    "был",
    "была",
    "было",
    "но",
    "он",
    "она",
    "они",
    "с",
    "из",
    "к",
    "как",
    "мой",
    "моя",
    "мои",
    "чтобы",
    "теперь",
    "сейчас",
    "больше",
    "уже",
    "еще",
    "когда",
    "потому",
    "после",
    "от",
    "для",
    "его",
    "её",
    "и",
    "себя",
    "могу",
    "хочу",
    "надо",
    "если",
    "также",
    "здесь",
    "никогда",
    "много",
    "лучше",
    "или",
    "у",
    "я",
    "не",
    "на",
    "до",
    "в",
    "нам",
    "нас",
];
const DANISH: &[&str] = &[
    "jeg", "ikke", "og", "er", "det", "en", "et", "på", "til", "af", "med", "som", "har", "at", "mig", "dig", "sig",
    "vi", "var", "hvad", "meget", "noget", "nogen", "hun", "han", "blev", "blevet", "også", "nu", "fra", "min", "mit",
    "mine", "hvordan", "kan", "vil", "skal", "efter", "mere", "føler", "være", "om", "den", "de", "for", "ved", "men",
    "fik", "så", "end", "når", "aldrig", "bedre", "uden", "hvor", "dem", "os", "gøre", "kun", "selv",
];
const SWEDISH: &[&str] = &[
    "jag", "inte", "och", "är", "det", "en", "ett", "på", "till", "av", "med", "som", "har", "att", "mig", "dig",
    "sig", "vi", "var", "vad", "mycket", "något", "någon", "hon", "han", "blev", "blivit", "också", "nu", "från",
    "min", "mitt", "mina", "hur", "kan", "vill", "ska", "efter", "mer", "känner", "vara", "om", "den", "de", "för",
];
const OTHER_LATIN: &[&str] = &[
    // German
    "ich", "nicht", "und", "ist", "das", "die", "der", "ein", "eine", "mit", "mich", "mir", "sehr", "wir", "habe",
    "auf", "für", "sie", "auch", "zu", "im", "sich", // French
    "je", "ne", "pas", "et", "est", "le", "la", "les", "un", "une", "des", "du", "avec", "pour", "très", "nous", "que",
    "qui", "dans", "suis", "mon", "ma", "elle", // Spanish, Portuguese, Italian
    "yo", "no", "y", "es", "el", "los", "las", "una", "con", "por", "para", "muy", "mi", "se", "en", "estoy", "não",
    "eu", "muito", "uma", "com", "sono", "il", "che", "di", "non", "molto", "per", "della", // Polish
    "jestem", "nie", "się", "jest", "na", "bardzo", "ja", "że", "z", "w", "do", "mnie", "moje", // Dutch
    "ik", "niet", "het", "een", "van", "zijn", "ben", "voor", "mijn", "heel", "wij",
];

/// Says what language a text is written in, from the text alone.
///
/// ```
/// use headwater_text::{Detected, Language, detect};
/// assert_eq!(detect("Eg kjenner meg ikkje åleine lenger"), Detected::Known(Language::Nynorsk));
/// assert_eq!(detect("Я больше не чувствую себя одиноким"), Detected::Foreign);
/// ```
#[must_use]
pub fn detect(text: &str) -> Detected {
    let lower = text.to_lowercase();
    let (mut latin, mut cyrillic, mut other) = (0usize, 0usize, 0usize);
    for c in lower.chars().filter(|c| c.is_alphabetic()) {
        match c {
            'a'..='z' | '\u{df}'..='\u{24f}' => latin += 1,
            '\u{400}'..='\u{52f}' => cyrillic += 1,
            _ => other += 1,
        }
    }
    if latin + cyrillic + other == 0 {
        return Detected::Unclear;
    }
    if other > latin.max(cyrillic) {
        return Detected::Foreign;
    }
    let words: Vec<&str> = words(&lower).take(WORDS_MAX).collect();
    if cyrillic > latin { detect_cyrillic(&lower, &words) } else { detect_latin(&lower, &words) }
}

fn words(lower: &str) -> impl Iterator<Item = &str> {
    lower
        .split(|c: char| !(c.is_alphabetic() || c == '\'' || c == '\u{2019}'))
        .map(|word| word.trim_matches(['\'', '\u{2019}']))
        .filter(|word| !word.is_empty())
}

fn hits(words: &[&str], list: &[&str]) -> usize {
    words.iter().filter(|word| list.contains(word)).count()
}

fn detect_cyrillic(lower: &str, words: &[&str]) -> Detected {
    let count = |set: &str| lower.chars().filter(|c| set.contains(*c)).count();
    let foreign = count("ыэёъўђјљњћџѓќѕ");
    let own = count("іїєґ");
    let infinitives = words.iter().filter(|word| {
        let ending =
            ["ати", "ити", "ути", "яти", "атися", "итися", "утися"].iter().any(|ending| word.ends_with(ending));
        ending && word.chars().count() >= 5
    });
    let (ukrainian, russian) = (hits(words, UKRAINIAN) + own + infinitives.count(), hits(words, RUSSIAN) + 2 * foreign);
    if ukrainian == russian {
        return if foreign > 0 { Detected::Foreign } else { Detected::Unclear };
    }
    if foreign > own || russian > ukrainian { Detected::Foreign } else { Detected::Known(Language::Ukrainian) }
}

fn detect_latin(lower: &str, words: &[&str]) -> Detected {
    let count = |set: &str| lower.chars().filter(|c| set.contains(*c)).count();
    let nordic = count("æøå");
    let swedish_or_german = count("äöüß");
    let elsewhere = count("ñçãõłąęśżźćńßıışğîâêûœőűčšžřěůțșăāēīūķļņģ");
    let supported = [
        (Language::Bokmal, hits(words, BOKMAL) + usize::from(nordic > 0)),
        (Language::Nynorsk, hits(words, NYNORSK) + usize::from(nordic > 0)),
        (Language::English, hits(words, ENGLISH) + hits(words, &["i"])),
    ];
    let foreign = [
        hits(words, DANISH) + usize::from(nordic > 0),
        hits(words, SWEDISH) + swedish_or_german,
        hits(words, OTHER_LATIN) + 2 * elsewhere + swedish_or_german,
    ];
    let foreign = foreign.into_iter().max().unwrap_or_default();
    // The first of equals wins: a text that fits both written forms of Norwegian is taken as Bokmål.
    let (mut language, mut best) = supported[0];
    for (candidate, score) in supported {
        if score > best {
            (language, best) = (candidate, score);
        }
    }
    let norwegian = matches!(language, Language::Bokmal | Language::Nynorsk);
    if best == 0 && foreign == 0 {
        return Detected::Unclear;
    }
    // Danish shares most function words with Norwegian; in a draw the supported language wins.
    if foreign > best {
        return Detected::Foreign;
    }
    if foreign == best && !norwegian {
        return Detected::Unclear;
    }
    Detected::Known(language)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_supported_languages_apart() {
        for (text, language) in [
            ("I feel more confident now", Language::English),
            ("My buddy helped me with the CV", Language::English),
            ("Feeling great about this!", Language::English),
            ("Jeg føler meg tryggere nå", Language::Bokmal),
            ("Det var veldig hyggelig å møte dere", Language::Bokmal),
            ("Eg er tryggare no enn før", Language::Nynorsk),
            ("Me har det kjekt saman, og eg lærer mykje", Language::Nynorsk),
            ("Я почуваюся впевненіше", Language::Ukrainian),
            ("Мені дуже сподобалося заняття", Language::Ukrainian),
            ("Почуваюсь краще", Language::Ukrainian),
        ] {
            assert_eq!(detect(text), Detected::Known(language), "{text}");
        }
    }

    #[test]
    fn refuses_neighbours() {
        for text in [
            "Мне очень понравился этот курс",
            "Я чувствую себя увереннее, спасибо",
            "Jag känner mig tryggare nu och jag är glad",
            "Ich fühle mich jetzt sicherer",
            "Je suis très contente avec mon mentor",
            "Estoy muy contento con el curso y la gente",
            "Jeg synes at det har været meget godt og jeg har lært noget af mig selv",
            "今日はとても楽しかったです",
            "أشعر بثقة أكبر الآن",
        ] {
            assert_eq!(detect(text), Detected::Foreign, "{text}");
        }
    }

    #[test]
    fn says_nothing_about_nothing() {
        for text in ["", "12345", "👍👍👍", "OK", "CV"] {
            assert_eq!(detect(text), Detected::Unclear, "{text}");
        }
    }

    #[test]
    fn tags_are_read_with_regions_and_case() {
        assert_eq!(Language::from_tag("uk-UA"), Some(Language::Ukrainian));
        assert_eq!(Language::from_tag("NO"), Some(Language::Bokmal));
        assert_eq!(Language::from_tag("ru"), None);
    }
}
