# cpack -G DEB: the Debian packages libhostcrst0, libhostcrst-dev and hostcrst-tools, of the components of
# cmake/install.cmake. Configure with -DCMAKE_INSTALL_PREFIX=/usr.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_VENDOR "hostcrst")
set(CPACK_PACKAGE_CONTACT "The developers of hostcrst <hostcrst@example.org>")
set(CPACK_STRIP_FILES ON)
# Some files stand at places that name the prefix.
set(CPACK_SET_DESTDIR ON)

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
find_program(DPKG_SHLIBDEPS dpkg-shlibdeps)
mark_as_advanced(DPKG_SHLIBDEPS)
if(DPKG_SHLIBDEPS)
    set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
    set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS "${hostcrst_lib_dir}")
endif()

set(runtime_package "libhostcrst${hostcrst_soversion}")
set(control_dir "${PROJECT_BINARY_DIR}/debian")
file(READ LICENSE-MIT mit)
file(WRITE "${control_dir}/copyright"
    "hostcrst is licensed under the MIT licence, which follows, or the Apache License, Version 2.0, which is\n"
    "/usr/share/common-licenses/Apache-2.0, at your choice.\n\n${mit}")

# hostcrst_package(<component> <name> <section> <sentence> <depends>)
function(hostcrst_package component name section sentence depends)
    string(TOUPPER "${component}" key)
    set(CPACK_COMPONENTS_ALL ${CPACK_COMPONENTS_ALL} ${component} PARENT_SCOPE)
    set(CPACK_COMPONENT_${key}_DESCRIPTION
        "${sentence}\nCritical sections that refuse deadlocks, and reports of which thread owns which and who waits for whom."
        PARENT_SCOPE)
    set(CPACK_DEBIAN_${key}_PACKAGE_NAME "${name}" PARENT_SCOPE)
    set(CPACK_DEBIAN_${key}_PACKAGE_SECTION "${section}" PARENT_SCOPE)
    set(CPACK_DEBIAN_${key}_PACKAGE_DEPENDS "${depends}" PARENT_SCOPE)
    install(FILES "${control_dir}/copyright" DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/${name}"
        COMPONENT ${component} EXCLUDE_FROM_ALL)
endfunction()

hostcrst_package(hostcrst_runtime ${runtime_package} libs
    "critical sections that never hang silently: shared libraries" "")
hostcrst_package(hostcrst_development libhostcrst-dev libdevel
    "critical sections that never hang silently: development files" "${runtime_package} (= ${PROJECT_VERSION})")
if(HOSTCRST_BUILD_DUMP)
    hostcrst_package(hostcrst_tools hostcrst-tools devel
        "critical sections that never hang silently: hostcrst-dump" "")
endif()

# Which version a package that was linked with one of the names needs.
file(WRITE "${control_dir}/symbols" "")
foreach(library IN ITEMS hostcrst hostcrst_win32)
    file(APPEND "${control_dir}/symbols"
        "lib${library}.so.${hostcrst_soversion} ${runtime_package} #MINVER#\n HOSTCRST_1.0@HOSTCRST_1.0 0.1.0\n")
    file(STRINGS "${${library}_exports_list}" names)
    foreach(name IN LISTS names)
        file(APPEND "${control_dir}/symbols" " ${name}@HOSTCRST_1.0 0.1.0\n")
    endforeach()
endforeach()
set(CPACK_DEBIAN_HOSTCRST_RUNTIME_PACKAGE_CONTROL_EXTRA "${control_dir}/symbols")

include(CPack)
