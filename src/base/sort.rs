//! Sorting in place, in little code: core's own would be 2 KiB of this library.

/// Sorts by a number that each item has (heap sort).
pub(crate) fn sort_by_number<T>(items: &mut [T], number: impl Fn(&T) -> u32) {
    let length = items.len();
    for root in (0..length / 2).rev() {
        sift_down(items, &number, root);
    }
    for end in (1..length).rev() {
        items.swap(0, end);
        sift_down(items.get_mut(..end).unwrap_or_default(), &number, 0);
    }
}

/// Makes a heap, with the greatest number at its root, of an item and the two heaps below it.
#[inline(never)]
fn sift_down<T>(heap: &mut [T], number: &impl Fn(&T) -> u32, mut root: usize) {
    let number_at = |heap: &[T], place: usize| heap.get(place).map(number);
    loop {
        let (left, right) = (2 * root + 1, 2 * root + 2);
        let greater = if number_at(heap, right) > number_at(heap, left) { right } else { left };
        if number_at(heap, greater) <= number_at(heap, root) {
            return;
        }
        heap.swap(root, greater);
        root = greater;
    }
}

#[cfg(all(test, not(any(loom, hostcrst_sim))))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn items_are_sorted_as_core_sorts_them(mut items: std::vec::Vec<u32>) {
            let mut sorted = items.clone();
            sorted.sort_unstable();
            sort_by_number(&mut items, |&item| item);
            prop_assert_eq!(items, sorted);
        }
    }
}
