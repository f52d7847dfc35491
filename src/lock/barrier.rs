//! The heavy barrier, also where the system refuses it. What it is for is not known here.

use crate::state::registry::REGISTRY;
use crate::sys;

/// How long stands for the heavy barrier where that is refused: a store and the load after it are not this far apart in any
/// processor, and a thread that is not running has done both or neither.
const UNFENCED_NAP: u64 = 10_000_000;

/// What the caller has stored, any other thread sees after its next light barrier; what that thread stored before its last
/// one, the caller sees.
pub(crate) fn pass_heavy_barrier() {
    // place: revoke-heavy-barrier
    if !sys::heavy_barrier() {
        REGISTRY.set_fenced();
        // place: revoke-nap
        sys::nap(UNFENCED_NAP);
    }
}
