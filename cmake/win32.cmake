# hostcrst::win32: the library with the Windows names, for what was built against another implementation of them.

# All names have the version that those of the library have.
set(hostcrst_win32_exports_list "${PROJECT_SOURCE_DIR}/ctests/win32/exports.txt")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${hostcrst_win32_exports_list}")
file(STRINGS "${hostcrst_win32_exports_list}" win32_names)
list(JOIN win32_names "; " win32_names)
set(win32_versions "${PROJECT_BINARY_DIR}/hostcrst_win32.versions")
file(CONFIGURE OUTPUT "${win32_versions}" CONTENT "HOSTCRST_1.0 { global: @win32_names@; local: *; };\n" @ONLY)

add_library(hostcrst_win32 SHARED win32/win32.c)
add_library(hostcrst::win32 ALIAS hostcrst_win32)
# PUBLIC: who includes hostcrst/win32.h calls functions of hostcrst itself.
target_link_libraries(hostcrst_win32 PUBLIC hostcrst::shared)
target_compile_options(hostcrst_win32 PRIVATE -O2 -fno-plt -fno-semantic-interposition -Wall -Wextra -Wpedantic)
target_link_options(hostcrst_win32 PRIVATE "LINKER:-z,now" "LINKER:-z,defs" "LINKER:--version-script=${win32_versions}")
set_target_properties(hostcrst_win32 PROPERTIES
    C_STANDARD 99
    C_VISIBILITY_PRESET hidden
    LINK_DEPENDS "${win32_versions}"
    VERSION "${PROJECT_VERSION}"
    SOVERSION "${hostcrst_soversion}"
    LIBRARY_OUTPUT_DIRECTORY "${hostcrst_lib_dir}"
    # It is preloaded by its path, and finds libhostcrst beside it.
    BUILD_RPATH "$ORIGIN"
    INSTALL_RPATH "$ORIGIN")
