# Run after scripts/c-library: puts the two libraries where the imported targets look for them, touching only what changed.

file(COPY_FILE "${made_dir}/libhostcrst.a" "${static_file}" ONLY_IF_DIFFERENT)
file(COPY_FILE "${made_dir}/libhostcrst.so" "${shared_file}" ONLY_IF_DIFFERENT)
get_filename_component(shared_name "${shared_file}" NAME)
foreach(link IN LISTS shared_links)
    if(NOT IS_SYMLINK "${link}")
        file(CREATE_LINK "${shared_name}" "${link}" SYMBOLIC)
    endif()
endforeach()
