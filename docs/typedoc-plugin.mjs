/**
 * Adapts the TypeDoc reference: the entry `src/index.ts` is called `nabla`, and the page of a class lists only the members that the class
 * itself declares, with a link to its base class for the others.
 */
import { Converter, ReflectionKind } from "typedoc";

export function load(app) {
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const module of project.children ?? []) if (module.name === "index") module.name = "nabla";
  });
  app.converter.on(Converter.EVENT_RESOLVE_END, ({ project }) => {
    // Keep members that are inherited from a class that has no page.
    for (const type of project.getReflectionsByKind(ReflectionKind.Class | ReflectionKind.Interface))
      for (const member of [...(type.children ?? [])])
        if (member.inheritedFrom?.reflection && member.kind !== ReflectionKind.Constructor)
          project.removeReflection(member);
  });
}
