# The tree that this port is part of; it calls cargo, which has to be there. A copy of the port elsewhere takes
# vcpkg_from_git or vcpkg_from_github here.
get_filename_component(SOURCE_PATH "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

vcpkg_cmake_configure(SOURCE_PATH "${SOURCE_PATH}" OPTIONS -DHOSTCRST_CARGO_TARGET_DIR=${CURRENT_BUILDTREES_DIR}/cargo)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(CONFIG_PATH lib/cmake/hostcrst)
vcpkg_fixup_pkgconfig()

# cargo builds one configuration; and gdb finds its script by the full path of the library, which is another one later.
file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/debug/include" "${CURRENT_PACKAGES_DIR}/debug/share"
    "${CURRENT_PACKAGES_DIR}/share/gdb")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE-MIT" "${SOURCE_PATH}/LICENSE-APACHE")
