# What `cmake --install` puts where. Components: runtime (programs, libdfs, examples, documents), dev (headers and what
# to link with), and service (units and settings with paths of the package, so only the package has it; Package.cmake).
set(TRIREME_DAEMONS fsmaster chunkserver mrmaster mrworker)
set(TRIREME_PROGRAMS dfs mr mrtask ${TRIREME_DAEMONS}) # mrtask is looked for beside mrworker
set(TRIREME_EXAMPLES wordcount grep index sort)

install(TARGETS ${TRIREME_PROGRAMS} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT runtime)
install(TARGETS libdfs LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime NAMELINK_COMPONENT dev)

# Jobs to try: the shared objects, and their source to copy from.
install(TARGETS ${TRIREME_EXAMPLES} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/trireme COMPONENT runtime)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/mapreduce/examples DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT runtime
    USE_SOURCE_PERMISSIONS)

# The names that Hadoop's users type, in a directory for their PATH: a real Hadoop may have them in bin.
foreach(name hadoop hdfs)
  file(RELATIVE_PATH up /${CMAKE_INSTALL_LIBDIR}/trireme/hadoop /${CMAKE_INSTALL_BINDIR})
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/hadoop)
  file(CREATE_LINK ${up}/dfs ${CMAKE_BINARY_DIR}/hadoop/${name} SYMBOLIC)
  install(FILES ${CMAKE_BINARY_DIR}/hadoop/${name} DESTINATION ${CMAKE_INSTALL_LIBDIR}/trireme/hadoop
      COMPONENT runtime)
endforeach()

# Man pages and completion are made by the programs themselves, from their tables of options.
set(manual ${CMAKE_BINARY_DIR}/man/man1)
set(completion ${CMAKE_BINARY_DIR}/completion/dfs)
add_custom_command(OUTPUT ${manual}/dfs.1 VERBATIM DEPENDS dfs mr ${TRIREME_DAEMONS} ${CMAKE_SOURCE_DIR}/deploy/man-pages
    COMMAND ${CMAKE_COMMAND} -E rm -rf ${manual}
    COMMAND ${CMAKE_SOURCE_DIR}/deploy/man-pages ${CMAKE_RUNTIME_OUTPUT_DIRECTORY} ${manual})
add_custom_command(OUTPUT ${completion} VERBATIM DEPENDS dfs
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/completion
    COMMAND dfs completion bash > ${completion})
add_custom_target(man ALL DEPENDS ${manual}/dfs.1 ${completion})
install(DIRECTORY ${manual} DESTINATION ${CMAKE_INSTALL_MANDIR} COMPONENT runtime)
install(FILES ${completion} DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT runtime)

install(FILES README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT runtime)
install(FILES LICENSE RENAME copyright DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT runtime)
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT runtime)

# For programs of others: libdfs, and the header of jobs, which link with nothing.
file(RELATIVE_PATH LIBDFS_PC_UP /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(client/libdfs.pc.in ${CMAKE_BINARY_DIR}/libdfs.pc @ONLY)
install(DIRECTORY client/include/ mapreduce/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dev
    FILES_MATCHING PATTERN "*.h")
install(FILES ${CMAKE_BINARY_DIR}/libdfs.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)

file(GLOB units CONFIGURE_DEPENDS deploy/systemd/*.service)
install(FILES ${units} DESTINATION lib/systemd/system COMPONENT service EXCLUDE_FROM_ALL)
install(FILES deploy/trireme.conf DESTINATION /etc/trireme COMPONENT service EXCLUDE_FROM_ALL)
