# cmake --install build/release; cpack makes the .deb.
include(GNUInstallDirs)
install(TARGETS hadal RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
