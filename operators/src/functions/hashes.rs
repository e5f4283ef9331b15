//! Hashes. Postgres' `sha224` to `sha512` are DataFusion's and give bytes; Flink's `sha1` and `sha2` give hexadecimal
//! digits; `xxhash64` gives a `BIGINT` for sampling and sharding. No state.

use super::scalar::{Argument, define, failed, function};
use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::Result;
use datafusion_expr::ScalarUDF;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use std::fmt::Write;
use std::sync::Arc;

/// Returns the functions of this family.
pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![sha1(), sha2(), xxhash64()]
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes(column: &ArrayRef) -> impl Iterator<Item = Option<&[u8]>> {
    column.as_binary::<i32>().iter()
}

fn sha1() -> Arc<ScalarUDF> {
    function("sha1", &[Argument::Bytes], DataType::Utf8, |columns| {
        Ok(Arc::new(bytes(&columns[0]).map(|bytes| bytes.map(|bytes| hex(sha1_of(bytes)))).collect::<StringArray>()))
    })
}

/// `sha2(text, bits)`: bits are 224, 256, 384 or 512, and 0 means 256, as in Flink and Spark.
fn sha2() -> Arc<ScalarUDF> {
    define("sha2", &[Argument::Bytes, Argument::Count], DataType::Utf8).evaluate(|columns| {
        let sizes = columns[1].as_primitive::<Int64Type>();
        let hashes = bytes(&columns[0]).zip(sizes).map(|(bytes, bits)| {
            let (Some(bytes), Some(bits)) = (bytes, bits) else { return Ok(None) };
            Ok(Some(match bits {
                224 => hex(Sha224::digest(bytes)),
                0 | 256 => hex(Sha256::digest(bytes)),
                384 => hex(Sha384::digest(bytes)),
                512 => hex(Sha512::digest(bytes)),
                other => return Err(failed(format!("sha2 has 224, 256, 384 or 512 bits, not {other}"))),
            }))
        });
        Ok(Arc::new(hashes.collect::<Result<StringArray>>()?))
    })
}

fn xxhash64() -> Arc<ScalarUDF> {
    function("xxhash64", &[Argument::Bytes], DataType::Int64, |columns| {
        Ok(Arc::new(bytes(&columns[0]).map(|bytes| bytes.map(|bytes| xxh64(bytes) as i64)).collect::<Int64Array>()))
    })
}

/// SHA-1 (FIPS 180-4). It is here for names, not for secrets.
fn sha1_of(message: &[u8]) -> [u8; 20] {
    let mut state: [u32; 5] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0];
    let mut padded = message.to_vec();
    padded.push(0x80);
    let n_zeros = (56 + 64 - padded.len() % 64) % 64;
    padded.resize(padded.len() + n_zeros, 0);
    padded.extend((message.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks_exact(64) {
        let mut w = [0u32; 80];
        for (word, bytes) in w.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        for t in 16..80 {
            w[t] = (w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (t, word) in w.iter().enumerate() {
            let (f, k) = match t {
                0..20 => ((b & c) | (!b & d), 0x5A82_7999),
                20..40 => (b ^ c ^ d, 0x6ED9_EBA1),
                40..60 => ((b & c) | (b & d) | (c & d), 0x8F1B_BCDC),
                _ => (b ^ c ^ d, 0xCA62_C1D6u32),
            };
            let next = a.rotate_left(5).wrapping_add(f).wrapping_add(e).wrapping_add(k).wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

const PRIMES: [u64; 5] =
    [0x9E37_79B1_85EB_CA87, 0xC2B2_AE3D_27D4_EB4F, 0x1656_67B1_9E37_79F9, 0x85EB_CA77_C2B2_AE63, 0x27D4_EB2F_1656_67C5];

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// XXH64 with seed 0.
fn xxh64(data: &[u8]) -> u64 {
    let [p1, p2, p3, p4, p5] = PRIMES;
    let round = |lane: u64, input: u64| lane.wrapping_add(input.wrapping_mul(p2)).rotate_left(31).wrapping_mul(p1);
    let mut blocks = data.chunks_exact(32);
    let mut hash = if data.len() < 32 {
        p5
    } else {
        let mut lanes = [p1.wrapping_add(p2), p2, 0, 0u64.wrapping_sub(p1)];
        for block in blocks.by_ref() {
            for (lane, input) in lanes.iter_mut().zip(block.chunks_exact(8)) {
                *lane = round(*lane, word(input));
            }
        }
        let rotated = [1, 7, 12, 18].into_iter().zip(lanes).map(|(by, lane)| lane.rotate_left(by));
        let sum = rotated.fold(0, u64::wrapping_add);
        lanes.into_iter().fold(sum, |sum, lane| (sum ^ round(0, lane)).wrapping_mul(p1).wrapping_add(p4))
    };
    hash = hash.wrapping_add(data.len() as u64);
    let mut rest = blocks.remainder().chunks_exact(8);
    for input in rest.by_ref() {
        hash = (hash ^ round(0, word(input))).rotate_left(27).wrapping_mul(p1).wrapping_add(p4);
    }
    let mut rest = rest.remainder();
    if let Some((input, after)) = rest.split_at_checked(4) {
        hash = (hash ^ word(input).wrapping_mul(p1)).rotate_left(23).wrapping_mul(p2).wrapping_add(p3);
        rest = after;
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte).wrapping_mul(p5)).rotate_left(11).wrapping_mul(p1);
    }
    hash = (hash ^ hash >> 33).wrapping_mul(p2);
    hash = (hash ^ hash >> 29).wrapping_mul(p3);
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_give_the_published_values() {
        assert_eq!(hex(sha1_of(b"")), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(hex(sha1_of(b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
        let two_blocks = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(hex(sha1_of(two_blocks)), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
        assert_eq!(hex(sha1_of(&[b'a'; 1_000_000])), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
        for (n, digest) in [
            (55, "c1c8bbdc22796e28c0e15163d20899b65621d65a"),
            (56, "c2db330f6083854c99d4b5bfb6e8f29f201be699"),
            (63, "03f09f5b158a7a8cdad920bddc29b81c18a551f5"),
            (64, "0098ba824b5c16427bd7a1122a5a442a25ec644d"),
        ] {
            assert_eq!(hex(sha1_of(&vec![b'a'; n])), digest, "{n} bytes");
        }
        assert_eq!(xxh64(b""), 0xEF46_DB37_51D8_E999);
        assert_eq!(xxh64(b"a"), 0xD24E_C4F1_A98C_6E5B);
        assert_eq!(xxh64(b"abc"), 0x44BC_2CF5_AD77_0999);
        assert_eq!(xxh64(b"Nobody inspects the spammish repetition"), 0xFBCE_A83C_8A37_8BF1);
    }
}
