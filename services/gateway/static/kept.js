// A bounded map in the browser's own storage: the newest entries stay. Without storage nothing is kept, and nothing breaks.

export function keeping(name, most) {
  const read = () => {
    try {
      return JSON.parse(localStorage.getItem(name)) ?? {};
    } catch {
      return {};
    }
  };
  const write = (entries) => {
    const newest = Object.entries(entries).sort(([, one], [, other]) => other.at - one.at);
    try {
      localStorage.setItem(name, JSON.stringify(Object.fromEntries(newest.slice(0, most))));
    } catch {
      // Full, or not allowed.
    }
  };
  return {
    get: (key) => read()[key]?.value,
    set: (key, value) => write({ ...read(), [key]: { value, at: Date.now() } }),
    remove: (key) => {
      const { [key]: _, ...rest } = read();
      write(rest);
    },
  };
}

// The same for as long as the tab is open.
export const tab = {
  get: (key) => {
    try {
      return sessionStorage.getItem(key);
    } catch {
      return null;
    }
  },
  set: (key, value) => {
    try {
      if (value === null) sessionStorage.removeItem(key);
      else sessionStorage.setItem(key, value);
    } catch {
      // Not allowed.
    }
  },
};
