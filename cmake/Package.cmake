# Debian packages, by `cmake --build --preset release --target package`: trireme (components runtime and service) and
# trireme-dev. What they depend on is computed from the programs (dpkg-shlibdeps).
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME trireme)
set(CPACK_PACKAGE_CONTACT "The Trireme maintainers")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "MapReduce over a replicated chunk store")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_VERBATIM_VARIABLES ON)
set(CPACK_COMPONENTS_ALL runtime service dev)
set(CPACK_COMPONENTS_GROUPING ONE_PER_GROUP)
set(CPACK_COMPONENT_RUNTIME_GROUP main)
set(CPACK_COMPONENT_SERVICE_GROUP main)
set(CPACK_COMPONENT_DEV_GROUP dev)

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_MAIN_PACKAGE_NAME trireme)
set(CPACK_DEBIAN_MAIN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_MAIN_PACKAGE_DEPENDS adduser)
set(CPACK_DEBIAN_MAIN_PACKAGE_SUGGESTS bash-completion)
set(CPACK_DEBIAN_MAIN_PACKAGE_CONFLICTS "mr, myrepos") # they have a /usr/bin/mr of their own
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
set(CPACK_DEBIAN_MAIN_DESCRIPTION "MapReduce over a replicated chunk store
The daemons fsmaster, chunkserver, mrmaster and mrworker, the commands dfs and mr, libdfs, and jobs to try. Nothing is
started by the installation: /etc/trireme/trireme.conf says what this machine is part of.")
set(CPACK_DEBIAN_DEV_PACKAGE_NAME trireme-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "trireme (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_DEV_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_DEV_DESCRIPTION "MapReduce over a replicated chunk store: headers
Headers of libdfs and of MapReduce jobs, and what a program links with.")

set(scripts ${CMAKE_SOURCE_DIR}/deploy/debian)
set(CPACK_DEBIAN_MAIN_PACKAGE_CONTROL_EXTRA
    ${scripts}/conffiles ${scripts}/postinst ${scripts}/prerm ${scripts}/postrm ${scripts}/triggers)
include(CPack)
