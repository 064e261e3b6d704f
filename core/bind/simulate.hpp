#pragma once

#include <nanobind/nanobind.h>

// Adds the class Simulator to the module.
void bind_simulate(nanobind::module_ &m);
