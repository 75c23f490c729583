// Loads the project of the address for the pages below it.
import { useQuery } from "@tanstack/react-query";
import { Outlet, useParams } from "react-router";
import { answer, api, ProblemError } from "../api/client";
import { useLiveUpdates } from "../hooks/live-updates";
import { ProjectContext } from "../hooks/project";
import { Loading } from "./page-states";
import { NoProject } from "./standalone-layout";

export function ProjectProvider() {
  const { pid = "" } = useParams();
  const project = useQuery({
    queryKey: ["project", pid],
    queryFn: () => answer(api.GET("/api/v1/projects/{pid}", { params: { path: { pid } } })),
  });
  useLiveUpdates(pid);
  if (project.isPending) return <Loading />;
  // The page stays while the server does not answer or the session has ended: only a 404 removes it.
  const notFound = project.error instanceof ProblemError && project.error.status === 404;
  if (project.isError && (notFound || !project.data)) return <NoProject error={project.error} retry={() => void project.refetch()} />;
  return (
    <ProjectContext.Provider value={project.data}>
      <Outlet />
    </ProjectContext.Provider>
  );
}
