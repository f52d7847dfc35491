# Run after cargo: puts the two libraries where the imported targets look for them, touching only what changed.

get_filename_component(lib_dir "${shared_file}" DIRECTORY)
file(MAKE_DIRECTORY "${lib_dir}")

function(run)
    execute_process(COMMAND ${ARGV} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

file(COPY_FILE "${cargo_out}/libhostcrst.so" "${shared_file}" ONLY_IF_DIFFERENT)
get_filename_component(shared_name "${shared_file}" NAME)
foreach(link IN LISTS shared_links)
    if(NOT IS_SYMLINK "${link}")
        file(CREATE_LINK "${shared_name}" "${link}" SYMBOLIC)
    endif()
endforeach()

# rustc's archive also has the whole of core with global names: two such archives in one program would clash. One
# object with the API names alone global cannot.
set(work_dir "${lib_dir}/static")
file(MAKE_DIRECTORY "${work_dir}")
file(STRINGS "${exports_list}" names)
list(TRANSFORM names PREPEND "-u " OUTPUT_VARIABLE roots)
list(JOIN roots "\n" roots)
file(WRITE "${work_dir}/roots" "${roots}\n")
run("${linker}" -r -o "${work_dir}/hostcrst.o" "@${work_dir}/roots" "${cargo_out}/libhostcrst.a")
run("${objcopy}" "--keep-global-symbols=${exports_list}" "${work_dir}/hostcrst.o")
file(REMOVE "${work_dir}/libhostcrst.a")
run("${ar}" rcsD "${work_dir}/libhostcrst.a" "${work_dir}/hostcrst.o")
file(COPY_FILE "${work_dir}/libhostcrst.a" "${static_file}" ONLY_IF_DIFFERENT)
