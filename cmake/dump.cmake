# cargo -> hostcrst-dump, in the profile `tool` of its Cargo.toml.

set(dump_options --locked --profile tool --manifest-path tools/hostcrst-dump/Cargo.toml)
set(hostcrst_dump_file "${HOSTCRST_CARGO_TARGET_DIR}/tool/hostcrst-dump")
if(HOSTCRST_OFFLINE)
    list(APPEND dump_options --offline)
endif()
if(HOSTCRST_RUST_TARGET)
    list(APPEND dump_options --target "${HOSTCRST_RUST_TARGET}")
    set(hostcrst_dump_file "${HOSTCRST_CARGO_TARGET_DIR}/${HOSTCRST_RUST_TARGET}/tool/hostcrst-dump")
endif()

add_custom_target(hostcrst_dump ALL
    COMMAND "${CMAKE_COMMAND}" -E env "CARGO_TARGET_DIR=${HOSTCRST_CARGO_TARGET_DIR}"
        "${HOSTCRST_CARGO}" build ${dump_options}
    BYPRODUCTS "${hostcrst_dump_file}"
    WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}"
    COMMENT "Building hostcrst-dump with cargo"
    USES_TERMINAL
    VERBATIM)
