//! Decides what a transition callback does to a task's layers, as callbacks can be doubled, missing or wrong. Knows
//! neither the CLR nor threads.
//!
//! In a balanced program every CALL pushes a layer and every RETURN pops the one its CALL pushed. Real
//! runtimes violate that (dotnet/runtime 59917, 69717, 120151), so [`decide`] compares each callback with the
//! present layers and chooses the most likely interpretation. Whatever arrives, the kinds of a task's layers keep
//! alternating, the depth never goes below zero, and each anomaly is counted once.

use crate::state::layers::{Layer, LayerKind};
use crate::state::task::Anomaly;

/// A transition callback.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crossing {
    pub(crate) kind: LayerKind,
    /// The FunctionID; 0 when the CLR names no function (a call through a function pointer).
    pub(crate) function: u64,
    pub(crate) step: Step,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The call: pushes. `verified` says that the FunctionID is a method's.
    Call { verified: bool },
    /// Its return: pops.
    Return,
}

/// What to do: keep the `keep` outermost layers, then push or not, and count anomalies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) keep: usize,
    pub(crate) push: bool,
    pub(crate) anomaly: Option<Anomaly>,
    /// How many times the anomaly happened.
    pub(crate) times: usize,
}

/// Chooses an interpretation. `layer` reads the task's layers, 0 the outermost; `repeated` says that the previous
/// callback was the same return.
pub(crate) fn decide(
    depth: usize,
    layer: impl Fn(usize) -> Option<Layer>,
    crossing: Crossing,
    repeated: bool,
) -> Decision {
    let at = |index| layer(index).filter(|layer: &Layer| layer.kind == crossing.kind);
    let top = depth.checked_sub(1).and_then(at);
    match (crossing.step, top) {
        (Step::Call { .. }, None) => Decision { keep: depth, push: true, anomaly: None, times: 0 },
        (Step::Call { verified }, Some(top)) => call_over_call(depth, top, crossing.function, verified),
        (Step::Return, Some(top)) if top.target == crossing.function => {
            Decision { keep: depth.saturating_sub(1), push: false, anomaly: None, times: 0 }
        }
        (Step::Return, _) => return_out_of_order(
            depth,
            |index| at(index).map(|layer| layer.target),
            crossing.function,
            repeated,
        ),
    }
}

/// Two calls of one kind in a row. With the same function it is a doubled callback. With another function the return of
/// the first call was missed, unless the new FunctionID is not a method's: then the new call did not happen.
fn call_over_call(depth: usize, top: Layer, function: u64, verified: bool) -> Decision {
    if top.target == function || !verified {
        Decision { keep: depth, push: false, anomaly: Some(Anomaly::RepeatedPush), times: 1 }
    } else {
        Decision { keep: depth.saturating_sub(1), push: true, anomaly: Some(Anomaly::MissedPop), times: 1 }
    }
}

/// A return that is not the top layer's. If it repeats the previous callback, it is doubled: two returns of one kind
/// never follow each other, as the kinds alternate. Otherwise an outer layer is searched for; the returns of the layers
/// inside it were missed. If there is none, its call was missed.
fn return_out_of_order(
    depth: usize,
    target_at: impl Fn(usize) -> Option<u64>,
    function: u64,
    repeated: bool,
) -> Decision {
    let found =
        if repeated { None } else { (0..depth).rev().find(|&index| target_at(index) == Some(function)) };
    match found {
        Some(index) => {
            let times = depth.saturating_sub(index).saturating_sub(1);
            Decision { keep: index, push: false, anomaly: Some(Anomaly::MissedPop), times }
        }
        None => Decision { keep: depth, push: false, anomaly: Some(Anomaly::UnmatchedPop), times: 1 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::layers::Origin;
    use std::vec::Vec;

    use Anomaly::{MissedPop, RepeatedPush, UnmatchedPop};

    /// A task as the CLR's host keeps it, without a thread.
    #[derive(Default)]
    struct Model {
        layers: Vec<Layer>,
        last: Option<(LayerKind, u64)>,
        anomalies: Vec<Anomaly>,
    }

    impl Model {
        fn apply(&mut self, kind: LayerKind, function: u64, step: Step) {
            let repeated = self.last == Some((kind, function));
            let crossing = Crossing { kind, function, step };
            let decision = decide(self.layers.len(), |i| self.layers.get(i).copied(), crossing, repeated);
            self.last = (step == Step::Return).then_some((kind, function));
            self.anomalies
                .extend(decision.anomaly.iter().flat_map(|&one| std::iter::repeat_n(one, decision.times)));
            self.layers.truncate(decision.keep);
            if decision.push {
                self.layers.push(Layer { kind, origin: Origin::ClrFunction, target: function, callee: 0 });
            }
            let alternating = self.layers.windows(2).all(|pair| pair[0].kind != pair[1].kind);
            assert!(alternating, "two layers of one kind in a row");
        }

        /// Reads a history: `L1` LeaveRuntime to 1, `e1` the EnterRuntime that ends it, `R2`
        /// ReverseEnterRuntime for 2, `v2` the ReverseLeaveRuntime that ends it; `?` after a call: its
        /// FunctionID is no method's.
        fn run(history: &str) -> Model {
            let mut model = Model::default();
            for word in history.split(' ') {
                let function = word[1..].trim_end_matches('?').parse().unwrap();
                let call = Step::Call { verified: !word.ends_with('?') };
                match word.as_bytes()[0] {
                    b'L' => model.apply(LayerKind::Leave, function, call),
                    b'e' => model.apply(LayerKind::Leave, function, Step::Return),
                    b'R' => model.apply(LayerKind::ReverseEnter, function, call),
                    b'v' => model.apply(LayerKind::ReverseEnter, function, Step::Return),
                    _ => unreachable!(),
                }
            }
            model
        }

        fn targets(&self) -> Vec<u64> {
            self.layers.iter().map(|layer| layer.target).collect()
        }
    }

    #[track_caller]
    fn check(history: &str, targets: &[u64], anomalies: &[Anomaly]) {
        let model = Model::run(history);
        assert_eq!(model.targets(), targets, "layers after {history}");
        assert_eq!(model.anomalies, anomalies, "anomalies after {history}");
    }

    #[test]
    fn a_balanced_history_is_kept_as_it_is() {
        check("L1 R2 L3", &[1, 2, 3], &[]);
        check("L1 R2 L3 e3 v2 e1", &[], &[]);
        check("R1 L2 e2 L2 e2 v1", &[], &[]);
        check("L1 R2 L1 R2 L1 e1 v2", &[1, 2, 1], &[]);
    }

    #[test]
    fn a_doubled_callback_counts_and_changes_nothing() {
        check("L1 L1", &[1], &[RepeatedPush]);
        check("L1 R2 R2 L3 e3 v2 v2 e1", &[], &[RepeatedPush, UnmatchedPop]);
        check("L1 e1 e1", &[], &[UnmatchedPop]);
    }

    #[test]
    fn a_doubled_return_does_not_end_an_outer_call_of_the_same_function() {
        check("L1 R2 L1 e1 e1", &[1, 2], &[UnmatchedPop]);
        check("R1 L2 R1 v1 v1 e2 v1", &[], &[UnmatchedPop]);
    }

    #[test]
    fn a_return_after_a_new_call_is_not_taken_for_a_doubled_one() {
        check("L1 R2 L1 e1 L3 e1", &[], &[MissedPop, MissedPop]);
    }

    #[test]
    fn a_missing_return_is_made_good_by_the_next_callback() {
        check("L1 L2", &[2], &[MissedPop]);
        check("L1 R2 L3 v2 e1", &[], &[MissedPop]);
        check("L1 R2 L3 e1", &[], &[MissedPop, MissedPop]);
        check("L1 R2 L1 R3 L4 e1", &[1, 2], &[MissedPop, MissedPop]);
    }

    #[test]
    fn a_return_without_a_call_underflows_nothing() {
        check("e1", &[], &[UnmatchedPop]);
        check("v1 L2", &[2], &[UnmatchedPop]);
        check("L1 e2 v1", &[1], &[UnmatchedPop, UnmatchedPop]);
    }

    #[test]
    fn an_unknown_function_is_a_layer_only_where_one_can_be() {
        check("L9? e9", &[], &[]);
        check("R1 R9? L2 e2 v9 v1", &[], &[RepeatedPush, UnmatchedPop]);
        check("R1 L9? L2 e2 e9 v1", &[], &[MissedPop, UnmatchedPop]);
    }

    #[test]
    fn no_history_breaks_the_alternation() {
        let words = ["L1", "L2", "e1", "e2", "R1", "R2?", "v1", "v2"];
        for mut number in 0..words.len().pow(6) {
            let history: Vec<&str> = (0..6).map(|_| (words[number % 8], number /= 8).0).collect();
            Model::run(&history.join(" "));
        }
    }
}
