//! FNV-1a: a hash that is the same in every version and process, for marks that are stored or sent. It keeps nobody out
//! who wants in: it tells things apart that differ by accident.

/// Hashes bytes.
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
