#!/bin/sh
# dead_links.sh <page>...: prints the links of installed pages that lead to no file, and fails if there are any. The bindings, which
# are not installed, have a page of their own that says so.
for page in "$@"; do
    [ "${page%/bindings/README.md}" = "$page" ] || continue
    grep -o ']([^)# ]*' "$page" | cut -c 3- | sort -u | while IFS= read -r target; do
        case $target in
        '' | *://*) ;;
        *) [ -e "$(dirname "$page")/$target" ] || echo "$page: $target" ;;
        esac
    done
done | {
    ! grep .
}
