// The project of the address, and the user's role in it.
import { useQuery } from "@tanstack/react-query";
import { createContext, useContext } from "react";
import { answer, api, type Schemas } from "../api/client";
import { readAll } from "./paging";

export const ProjectContext = createContext<Schemas["Project"] | null>(null);

export function useProject(): Schemas["Project"] {
  const project = useContext(ProjectContext);
  if (!project) throw new Error("useProject needs a ProjectProvider around the page");
  return project;
}

/** The projects that the user can open. */
export function useProjects() {
  return useQuery({ queryKey: ["projects"], queryFn: () => readAll((cursor) => answer(api.GET("/api/v1/projects", { params: { query: { limit: 200, cursor } } }))) });
}

/** The roles in ascending order: each includes the ones before it. */
export const roles = ["viewer", "operator", "approver", "admin"] as const;
export type Role = (typeof roles)[number];

/** Returns whether the user's role in the project includes a role. */
export function useHasRole(role: Role): boolean {
  return roles.indexOf(useProject().role as Role) >= roles.indexOf(role);
}
