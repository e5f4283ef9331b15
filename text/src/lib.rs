//! Pure text analysis: outcome classification, language, personal data and safety screening.
