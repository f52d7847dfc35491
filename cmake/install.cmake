# The installed tree: headers, both libraries, the CMake package, the pkg-config file, manual pages, documents, the
# licences; and the target `uninstall`, which removes it. Its components are the packages that cmake/packages.cmake makes.
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/hostcrst")
set(pkgconfig_dir "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
list(TRANSFORM hostcrst_static_dependencies PREPEND "-l" OUTPUT_VARIABLE static_link_line)
list(JOIN static_link_line " " static_link_line)
# The .pc file finds the prefix from its own place, so that the tree can be moved.
file(RELATIVE_PATH pkgconfig_to_prefix "/prefix/${pkgconfig_dir}" "/prefix")

configure_package_config_file(cmake/hostcrstConfig.cmake.in hostcrstConfig.cmake
    INSTALL_DESTINATION "${package_dir}"
    PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR
    NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(hostcrstConfigVersion.cmake COMPATIBILITY SameMinorVersion)
configure_file(cmake/hostcrst.pc.in hostcrst.pc @ONLY)

# First of all.
install(CODE "include(\"${CMAKE_CURRENT_LIST_DIR}/writable.cmake\")" ALL_COMPONENTS)

# For programs that are linked already.
list(GET hostcrst_shared_links 0 shared_namelink)
list(GET hostcrst_shared_links 1 shared_soname_link)
install(PROGRAMS "${hostcrst_shared_file}" DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT hostcrst_runtime)
install(FILES "${shared_soname_link}" DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT hostcrst_runtime)
install(TARGETS hostcrst_win32 LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
    COMPONENT hostcrst_runtime NAMELINK_COMPONENT hostcrst_development)

# gdb looks for a library's script under its own auto-load folder, at the full path of the library: with the prefix
# that is known when it is installed.
get_filename_component(shared_file_name "${hostcrst_shared_file}" NAME)
install(FILES tools/gdb/hostcrst-gdb.py
    DESTINATION "${CMAKE_INSTALL_DATADIR}/gdb/auto-load/\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}"
    RENAME "${shared_file_name}-gdb.py"
    COMPONENT hostcrst_runtime)

# For building programs.
set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME hostcrst_development)
install(DIRECTORY include/ DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(FILES "${shared_namelink}" "${hostcrst_static_file}" DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(FILES
    "${CMAKE_CURRENT_BINARY_DIR}/hostcrstConfig.cmake"
    "${CMAKE_CURRENT_BINARY_DIR}/hostcrstConfigVersion.cmake"
    DESTINATION "${package_dir}")
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/hostcrst.pc" DESTINATION "${pkgconfig_dir}")
install(FILES
    share/hostcrst/hostcrst.cdef share/hostcrst/hostcrst.supp share/hostcrst/valgrind.c docs/report.schema.json
    DESTINATION "${CMAKE_INSTALL_DATADIR}/hostcrst")
install(FILES docs/man/hostcrst.3 DESTINATION "${CMAKE_INSTALL_MANDIR}/man3")
# In the folders of the source, so that links lead from page to page.
install(FILES
    README.md ARCHITECTURE.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE-MIT LICENSE-APACHE
    DESTINATION "${CMAKE_INSTALL_DOCDIR}")
install(DIRECTORY docs examples DESTINATION "${CMAKE_INSTALL_DOCDIR}" PATTERN man EXCLUDE PATTERN Doxyfile EXCLUDE)
install(FILES bindings/README.md DESTINATION "${CMAKE_INSTALL_DOCDIR}/bindings")
install(FILES packaging/README.md DESTINATION "${CMAKE_INSTALL_DOCDIR}/packaging")

if(HOSTCRST_BUILD_DUMP)
    set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME hostcrst_tools)
    install(PROGRAMS "${hostcrst_dump_file}" DESTINATION "${CMAKE_INSTALL_BINDIR}")
    install(FILES docs/man/hostcrst-dump.1 DESTINATION "${CMAKE_INSTALL_MANDIR}/man1")
endif()

if(PROJECT_IS_TOP_LEVEL)
    set(own_folders "${CMAKE_INSTALL_INCLUDEDIR}/hostcrst" "${package_dir}" "${CMAKE_INSTALL_DATADIR}/hostcrst"
        "${CMAKE_INSTALL_DATADIR}/gdb/auto-load" "${CMAKE_INSTALL_DOCDIR}")
    add_custom_target(uninstall
        COMMAND "${CMAKE_COMMAND}" "-DMANIFEST=${PROJECT_BINARY_DIR}/install_manifest.txt"
            "-DHEADER=${CMAKE_INSTALL_INCLUDEDIR}/hostcrst.h" "-DOWN=${own_folders}"
            -P "${CMAKE_CURRENT_LIST_DIR}/uninstall.cmake"
        VERBATIM)
    include(cmake/packages.cmake)
endif()
