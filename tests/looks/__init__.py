"""Every page and state of the site, as people see it: for axe, and for `make screenshots`."""
