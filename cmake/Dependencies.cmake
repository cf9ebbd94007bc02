# Every third-party library, all from Debian packages (deploy/install-deps). Headers are SYSTEM by way of IMPORTED.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(GRPC REQUIRED IMPORTED_TARGET grpc)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd)
pkg_check_modules(LZ4 REQUIRED IMPORTED_TARGET liblz4)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(SMARTCOLS REQUIRED IMPORTED_TARGET smartcols)
pkg_check_modules(INIH REQUIRED IMPORTED_TARGET inih)
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)

# RocksDB, ISA-L and bzip2 ship no pkg-config file that Debian 12 installs under one name everywhere.
find_library(ROCKSDB_LIBRARY rocksdb REQUIRED)
find_path(ROCKSDB_INCLUDE rocksdb/c.h REQUIRED)
add_library(rocksdb_c INTERFACE)
target_link_libraries(rocksdb_c INTERFACE ${ROCKSDB_LIBRARY})
find_library(ISAL_LIBRARY isal REQUIRED)
find_path(ISAL_INCLUDE isa-l.h REQUIRED)
add_library(isal INTERFACE)
target_link_libraries(isal INTERFACE ${ISAL_LIBRARY})

find_library(BZIP2_LIBRARY bz2 REQUIRED)
find_path(BZIP2_INCLUDE bzlib.h REQUIRED)
add_library(bzip2 INTERFACE)
target_link_libraries(bzip2 INTERFACE ${BZIP2_LIBRARY})

# gRPC brings 50 libraries. At each start the dynamic linker looks for 12,500 symbols in one library after the other, in the order
# in which the program names them, and finds three of four in these, which name themselves: named first, they end most of the
# searches at once (docs/performance.md, "Commands").
find_library(GRPC_LIBRARY grpc HINTS ${GRPC_LIBRARY_DIRS} REQUIRED)
find_library(CRYPTO_LIBRARY crypto REQUIRED)
find_library(STDCXX_LIBRARY libstdc++.so.6 REQUIRED)
add_library(grpc_shared INTERFACE)
target_link_libraries(grpc_shared INTERFACE PkgConfig::GRPC)
target_link_options(grpc_shared INTERFACE
    "LINKER:--push-state,--no-as-needed,${GRPC_LIBRARY},${CRYPTO_LIBRARY},${STDCXX_LIBRARY},--pop-state")

# A command that somebody waits for is better off without them: with gRPC's and Abseil's archives in it, it starts in half the time.
# Only what this package alone uses is taken in; OpenSSL, zlib and c-ares stay the system's. Sanitizers keep the shared ones, which
# their suppressions name.
set(GRPC_ARCHIVES)
set(GRPC_OTHERS)
foreach(name ${GRPC_LIBRARIES})
  if(name MATCHES "^(grpc|gpr|upb|re2|address_sorting|absl_.*)$")
    find_library(ARCHIVE_${name} lib${name}.a HINTS ${GRPC_LIBRARY_DIRS})
    mark_as_advanced(ARCHIVE_${name})
    if(NOT ARCHIVE_${name})
      set(GRPC_ARCHIVES)
      message(STATUS "no lib${name}.a: commands use the shared gRPC")
      break()
    endif()
    list(APPEND GRPC_ARCHIVES ${ARCHIVE_${name}})
  else()
    list(APPEND GRPC_OTHERS ${name})
  endif()
endforeach()
list(REMOVE_DUPLICATES GRPC_ARCHIVES)
add_library(grpc_archives INTERFACE)
if(GRPC_ARCHIVES AND CMAKE_BUILD_TYPE STREQUAL "Release")
  target_include_directories(grpc_archives SYSTEM INTERFACE ${GRPC_INCLUDE_DIRS})
  target_link_libraries(grpc_archives INTERFACE -Wl,--start-group ${GRPC_ARCHIVES} -Wl,--end-group ${GRPC_OTHERS} ${STDCXX_LIBRARY} m)
else()
  target_link_libraries(grpc_archives INTERFACE grpc_shared)
endif()

# What trireme_rpc links: the shared libraries, unless the program that is linked has the property STARTS_FAST.
add_library(grpc INTERFACE)
target_link_libraries(grpc INTERFACE $<IF:$<BOOL:$<TARGET_PROPERTY:STARTS_FAST>>,grpc_archives,grpc_shared>)

find_program(PROTOC_C protoc-c REQUIRED)
find_program(PROTOC protoc REQUIRED)
