//! What the objects are whose locks are waited for.
//!
//! The event of a wait names the object by its address, which the collector changes. The CLR is asked for its type, which stays,
//! at once and on the thread that writes the event. It answers where the thread keeps the collector from running, and refuses
//! elsewhere. It also answers on any thread while it collects, if a profiler is told of collections, as it takes that for the one
//! that is told: so it is not asked beside a main profiler, which may be.

use super::beside;
use super::functions::write_class_name;
use super::info::ProfilerInfo;
use super::modules;
use crate::state::registry::REGISTRY;
use crate::state::targets::TARGET_NAME_BYTES;
use crate::text::TextBuffer;

/// The type of the object at an address that an event has just named, which has a name from here on; 0 if it is not known.
pub(crate) fn of_object(info: ProfilerInfo, object: u64) -> u64 {
    if object == 0 || beside::has_main_profiler() {
        return 0;
    }
    let Some(class) = info.class_of_object(object as usize) else { return 0 };
    if !REGISTRY.targets.has_type(class as u64) {
        name(info, class);
    }
    class as u64
}

#[cold]
fn name(info: ProfilerInfo, class: usize) {
    let Some((module, token)) = info.class_definition(class) else { return };
    let Some(metadata) = modules::metadata(info, module) else { return };
    let mut text = TextBuffer::<TARGET_NAME_BYTES>::new();
    // What does not fit is cut.
    let _ = write_class_name(&mut text, &metadata, token);
    REGISTRY.targets.name_type(class as u64, text.bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::memory::Here;
    use crate::clr::fake::{self, ARRAY, OBJECT};

    #[test]
    fn an_object_has_the_type_that_the_clr_tells_and_no_other() {
        let _turn = fake::TURN.lock().unwrap();
        crate::host::prepare::prepare().unwrap();
        let of_type = of_object(fake::info(), OBJECT);
        assert_eq!(of_type, OBJECT + 8);
        assert_eq!(REGISTRY.targets.type_name(&Here, of_type).unwrap().bytes(), b"Space.Outer+Inner");
        assert_eq!(of_object(fake::info(), OBJECT), of_type);
        // Where the CLR refuses, and what is no object.
        assert_eq!((of_object(fake::info(), OBJECT + 8), of_object(fake::info(), 0)), (0, 0));
        let of_type = of_object(fake::info(), ARRAY);
        assert!(of_type != 0 && REGISTRY.targets.type_name(&Here, of_type).is_none());
    }
}
