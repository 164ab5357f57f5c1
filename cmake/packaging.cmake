# cmake --install build/release installs; the `uninstall` target takes it away again; cpack makes the .deb.
include(GNUInstallDirs)
install(TARGETS hadal RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES README.md README.zh.md NOTICE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES docs/operating.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${HADAL_PAGE_BUILD}/licences.txt DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME page-licences.txt)
install(FILES packaging/systemd/hadal.service DESTINATION lib/systemd/system)
install(FILES packaging/prometheus/prometheus.yml packaging/grafana/hadal.json DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)

# Completions are printed by the program itself, so that they never fall behind it.
set(completions ${CMAKE_BINARY_DIR}/completions)
add_custom_command(TARGET hadal POST_BUILD VERBATIM
  COMMAND ${CMAKE_COMMAND} -E make_directory ${completions}
  COMMAND sh -c "for shell in bash zsh fish; do '$<TARGET_FILE:hadal>' completion $shell > '${completions}/'$shell || exit 1; done")
install(FILES ${completions}/bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME hadal)
install(FILES ${completions}/zsh DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions RENAME _hadal)
install(FILES ${completions}/fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d RENAME hadal.fish)

# CMake's own manifest is overwritten when cpack installs into its staging folder; this list is not.
install(CODE "
  if(NOT \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}\" MATCHES \"_CPack_Packages\")
    set(hadal_installed \"\")
    foreach(file IN LISTS CMAKE_INSTALL_MANIFEST_FILES)
      string(APPEND hadal_installed \"\$ENV{DESTDIR}\${file}\\n\")
    endforeach()
    file(WRITE \"${CMAKE_BINARY_DIR}/installed.txt\" \"\${hadal_installed}\")
  endif()")
add_custom_target(uninstall VERBATIM
  COMMAND sh -c "test -f '${CMAKE_BINARY_DIR}/installed.txt' || { echo 'nothing was installed from this build'; exit 1; }"
  COMMAND sh -c "xargs -r -d '\\n' rm -fv < '${CMAKE_BINARY_DIR}/installed.txt'"
  COMMENT "removing what cmake --install put there")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME hadal)
set(CPACK_PACKAGE_VENDOR hadal)
set(CPACK_PACKAGE_CONTACT "hadal's authors <hadal@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "run DeepSeek models on your own machine")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"hadal chats with DeepSeek models, and the Llama and Qwen models they are
distilled into, in the terminal. It reads GGUF files and Hugging Face folders
and measures their quality and their speed. Nothing leaves the machine.")
set(CPACK_PACKAGE_FILE_NAME "hadal_${PROJECT_VERSION}_amd64")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)  # the runtime packages are read off the binary
include(CPack)
