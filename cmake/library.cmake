# cargo -> lib/libhostcrst.so (with its SONAME links) and lib/libhostcrst.a -> the imported targets.

find_program(HOSTCRST_CARGO cargo HINTS "$ENV{CARGO_HOME}/bin" "$ENV{HOME}/.cargo/bin")
if(NOT HOSTCRST_CARGO)
    message(FATAL_ERROR "hostcrst: cargo not found; install a Rust toolchain (https://rustup.rs) or set HOSTCRST_CARGO")
endif()

# The soversion has one place: scripts/c-library, which writes it into the library.
file(STRINGS scripts/c-library soversion_line REGEX "^soversion=")
string(REPLACE "soversion=" "" hostcrst_soversion "${soversion_line}")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS scripts/c-library)

set(hostcrst_exports_list "${PROJECT_SOURCE_DIR}/ctests/exports.txt")
set(hostcrst_lib_dir "${PROJECT_BINARY_DIR}/lib")
set(hostcrst_shared_links
    "${hostcrst_lib_dir}/libhostcrst.so"
    "${hostcrst_lib_dir}/libhostcrst.so.${hostcrst_soversion}")
set(hostcrst_shared_file "${hostcrst_lib_dir}/libhostcrst.so.${PROJECT_VERSION}")
set(hostcrst_static_file "${hostcrst_lib_dir}/libhostcrst.a")
# What the static library leaves for the program to link.
set(hostcrst_static_dependencies c)

set(cargo_options)
set(made_dir "${PROJECT_BINARY_DIR}/c-library")
if(HOSTCRST_OFFLINE)
    list(APPEND cargo_options --offline)
endif()
if(HOSTCRST_RUST_TARGET)
    list(APPEND cargo_options --target "${HOSTCRST_RUST_TARGET}")
endif()

# cargo decides what is out of date, so it runs on each build; what did not change is not touched.
add_custom_target(hostcrst_cargo ALL
    COMMAND "${CMAKE_COMMAND}" -E env
        "CARGO_TARGET_DIR=${HOSTCRST_CARGO_TARGET_DIR}" "CARGO=${HOSTCRST_CARGO}"
        "CC=${CMAKE_C_COMPILER}" "AR=${CMAKE_AR}" "OBJCOPY=${CMAKE_OBJCOPY}"
        "${PROJECT_SOURCE_DIR}/scripts/c-library" "${made_dir}" ${cargo_options}
    COMMAND "${CMAKE_COMMAND}"
        "-Dmade_dir=${made_dir}"
        "-Dshared_file=${hostcrst_shared_file}"
        "-Dshared_links=${hostcrst_shared_links}"
        "-Dstatic_file=${hostcrst_static_file}"
        -P "${CMAKE_CURRENT_LIST_DIR}/collect.cmake"
    BYPRODUCTS "${hostcrst_shared_file}" ${hostcrst_shared_links} "${hostcrst_static_file}"
    WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}"
    COMMENT "Building libhostcrst with cargo"
    USES_TERMINAL
    VERBATIM)

function(hostcrst_import name type file)
    add_library(hostcrst::${name} ${type} IMPORTED GLOBAL)
    set_target_properties(hostcrst::${name} PROPERTIES
        IMPORTED_LOCATION "${file}"
        INTERFACE_INCLUDE_DIRECTORIES "${PROJECT_SOURCE_DIR}/include")
    add_dependencies(hostcrst::${name} hostcrst_cargo)
endfunction()

hostcrst_import(shared SHARED "${hostcrst_lib_dir}/libhostcrst.so")
set_target_properties(hostcrst::shared PROPERTIES IMPORTED_SONAME "libhostcrst.so.${hostcrst_soversion}")
hostcrst_import(static STATIC "${hostcrst_static_file}")
set_target_properties(hostcrst::static PROPERTIES INTERFACE_LINK_LIBRARIES "${hostcrst_static_dependencies}")

add_library(hostcrst::hostcrst INTERFACE IMPORTED GLOBAL)
set(hostcrst_default shared)
if(DEFINED BUILD_SHARED_LIBS AND NOT BUILD_SHARED_LIBS)
    set(hostcrst_default static)
endif()
target_link_libraries(hostcrst::hostcrst INTERFACE hostcrst::${hostcrst_default})
