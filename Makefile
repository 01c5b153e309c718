# Thin targets; the work is in eng/.
PREFIX ?= /usr/local

.PHONY: all demo test soak soak-net bench install uninstall format clean

all:
	@eng/build

demo:
	@eng/demo

test:
	@eng/test

soak:
	@eng/soak

soak-net:
	@eng/soak-net

bench:
	@eng/bench

install: all
	@eng/install "$(DESTDIR)$(PREFIX)"

uninstall:
	@eng/install --remove "$(DESTDIR)$(PREFIX)"

format:
	@dotnet format Dromaius.slnx --verify-no-changes

clean:
	@rm -rf build
