//! Makes the texts of the page small, for build.rs: the two bytes that follow each other most often become one, which no
//! text has, again and again until no byte is left that none has. `src/report/packed.rs` makes them whole again.

use std::collections::BTreeMap;

/// Texts have bytes below this one alone; what stands for a pair has it, and further ones.
const FIRST_PAIR: u8 = 128;

/// The pairs, from FIRST_PAIR on, and the texts with them. A pair may be made of pairs before it.
pub fn pack(texts: &[&str]) -> (Vec<[u8; 2]>, Vec<Vec<u8>>) {
    assert!(texts.iter().all(|text| text.is_ascii()));
    let mut packed: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    let mut pairs = Vec::new();
    for code in FIRST_PAIR..=u8::MAX {
        let mut counts = BTreeMap::new();
        for bytes in packed.iter().flat_map(|text| text.windows(2)) {
            *counts.entry([bytes[0], bytes[1]]).or_insert(0) += 1;
        }
        let Some((&pair, _)) = counts.iter().max_by_key(|&(_, count)| count) else { break };
        packed.iter_mut().for_each(|text| *text = with_pair_as(text, pair, code));
        pairs.push(pair);
    }
    (pairs, packed)
}

fn with_pair_as(text: &[u8], pair: [u8; 2], code: u8) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(text.len());
    for &byte in text {
        if byte == pair[1] && replaced.last() == Some(&pair[0]) {
            *replaced.last_mut().expect("it was just looked at") = code;
        } else {
            replaced.push(byte);
        }
    }
    replaced
}
