# Run first when the project is installed: refuses a prefix that cannot be written, before anything is copied.
# CMAKE_INSTALL_PREFIX and DESTDIR of the environment say where to.
set(folder "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}")
while(NOT EXISTS "${folder}")
    get_filename_component(folder "${folder}" DIRECTORY)
endwhile()
execute_process(COMMAND test -d "${folder}" -a -w "${folder}" RESULT_VARIABLE refused)
if(refused)
    message(FATAL_ERROR "hostcrst: ${folder} is no folder that can be written, and nothing was installed: "
        "run this as a user who may, or choose another one with --prefix")
endif()
