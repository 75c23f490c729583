// The project of the address, with the person's role in it.
import { useQuery } from "@tanstack/react-query";
import { createContext, useContext } from "react";
import { Outlet, useParams } from "react-router";
import { answer, api, ProblemError, type Schemas } from "../api/client";
import { NoProject } from "../components/standalone-layout";
import { readAll } from "../components/paged-list";
import { Waiting } from "../components/page-states";
import { useLive } from "./live-updates";

const ProjectContext = createContext<Schemas["Project"] | null>(null);

export function useProject(): Schemas["Project"] {
  const project = useContext(ProjectContext);
  if (!project) throw new Error("useProject is for pages of a project");
  return project;
}

/** The projects that the person reaches. */
export function useProjects() {
  return useQuery({ queryKey: ["projects"], queryFn: () => readAll((cursor) => answer(api.GET("/api/v1/projects", { params: { query: { limit: 200, cursor } } }))) });
}

const rank: Record<string, number> = { viewer: 1, operator: 2, approver: 3, admin: 4 };

/** Tells whether the person's role includes another. */
export function useMay(role: "viewer" | "operator" | "approver" | "admin"): boolean {
  return (rank[useProject().role] ?? 0) >= (rank[role] ?? 9);
}

export function ProjectProvider() {
  const { pid = "" } = useParams();
  const project = useQuery({
    queryKey: ["project", pid],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}", { params: { path: { pid } } })),
  });
  useLive(pid);
  if (project.isPending) return <Waiting />;
  // A server that does not answer, or a session that ended, takes nobody's page away.
  const gone = project.error instanceof ProblemError && project.error.status === 404;
  if (project.isError && (gone || !project.data)) return <NoProject error={project.error} retry={() => void project.refetch()} />;
  return (
    <ProjectContext.Provider value={project.data}>
      <Outlet />
    </ProjectContext.Provider>
  );
}
