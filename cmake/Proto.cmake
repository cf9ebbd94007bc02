# trireme_proto(TARGET file.proto...) generates protobuf-c code at build time into a static library of its own.
function(trireme_proto target)
  set(out ${CMAKE_BINARY_DIR}/generated)
  set(sources "")
  foreach(proto ${ARGN})
    get_filename_component(stem ${proto} NAME_WE)
    set(base ${out}/proto/${stem}.pb-c)
    add_custom_command(
      OUTPUT ${base}.c ${base}.h
      COMMAND ${CMAKE_COMMAND} -E make_directory ${out}
      COMMAND ${PROTOC_C} --c_out=${out} -I ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/proto/${proto}
      DEPENDS ${CMAKE_SOURCE_DIR}/proto/${proto} VERBATIM)
    list(APPEND sources ${base}.c ${base}.h)
  endforeach()
  add_library(${target} STATIC ${sources})
  target_include_directories(${target} SYSTEM PUBLIC ${out})
  target_link_libraries(${target} PUBLIC PkgConfig::PROTOBUF_C)
  target_compile_options(${target} PRIVATE -w)
endfunction()
