"""The CMake project of the folder above this one; it calls cargo, which has to be there."""
import os
import re

from conan import ConanFile
from conan.errors import ConanInvalidConfiguration
from conan.tools.cmake import CMake, CMakeToolchain, cmake_layout
from conan.tools.files import copy, load


class Hostcrst(ConanFile):
    name = "hostcrst"
    license = "MIT OR Apache-2.0"
    description = "Critical sections that never hang silently, and managed/native transitions"
    topics = ("critical-section", "recursive-mutex", "deadlock", "clr")
    package_type = "library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"shared": [True, False], "dump": [True, False]}
    default_options = {"shared": True, "dump": False}

    @property
    def _source(self):
        return os.path.join(self.recipe_folder, os.pardir, os.pardir)

    def set_version(self):
        manifest = load(self, os.path.join(self._source, "Cargo.toml"))
        self.version = re.search(r'^version = "(.*)"$', manifest, re.MULTILINE)[1]

    def export_sources(self):
        copy(self, "*", self._source, self.export_sources_folder,
             excludes=(".git/*", "build/*", "target/*", "*/target/*", "*/__pycache__/*"))

    def validate(self):
        if self.settings.os != "Linux":
            raise ConanInvalidConfiguration("hostcrst is for Linux")

    def layout(self):
        cmake_layout(self)

    def generate(self):
        toolchain = CMakeToolchain(self)
        toolchain.cache_variables["HOSTCRST_BUILD_DUMP"] = bool(self.options.dump)
        toolchain.generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        CMake(self).install()
        copy(self, "LICENSE-*", self.source_folder, os.path.join(self.package_folder, "licenses"))

    def package_info(self):
        # The installed CMake package and .pc file are right as they are.
        self.cpp_info.set_property("cmake_find_mode", "none")
        self.cpp_info.builddirs = [os.path.join("lib", "cmake", "hostcrst")]
        self.cpp_info.libs = ["hostcrst"]
