/** Builds the sidebars of the reference from TypeDoc's output. */

/** The entry points, in the order of the sidebar. */
const ENTRIES = ["nabla", "gradients", "formats", "tfjs", "serverless"];
const nameOf = (entry) => (entry === "nabla" ? entry : `nabla/${entry}`);

/**
 * Returns one sidebar per entry point and namespace. A single sidebar with every name in the library would be larger than most pages.
 * @param tree the contents of typedoc-sidebar.json
 */
export function referenceSidebars(tree) {
  const sidebars = {};
  const top = ENTRIES.map((name) => ({ text: nameOf(name), link: `/reference/${name}/` }));
  const visit = ({ link, items }, title, path) => {
    const own = [];
    for (const group of items) {
      // Leave out options and types: the pages of functions and classes link to them.
      if (group.text === "Interfaces" || group.text === "Type Aliases") continue;
      if (group.text !== "Namespaces") {
        const links = group.items.map(({ text, link }) => ({ text, link: link.replace(/\.md$/, "") }));
        own.push({ text: group.text, collapsed: false, items: links });
        continue;
      }
      const links = group.items.map((namespace) => ({ text: `${title}.${namespace.text}`, link: namespace.link }));
      own.unshift({ text: "Namespaces", items: links });
      for (const namespace of group.items)
        visit(namespace, `${title}.${namespace.text}`, [...path, { text: title, link }]);
    }
    sidebars[link] = [
      { text: title, link, items: path.map(({ text, link }) => ({ text: `↑ ${text}`, link })) },
      ...own,
    ];
  };
  for (const entry of tree) visit(entry, nameOf(entry.text), [{ text: "Reference", link: "/reference/" }]);
  sidebars["/reference/"] = [{ text: "Reference", items: top }];
  return sidebars;
}
