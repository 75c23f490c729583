// The pages and their addresses.
import { lazy, Suspense } from "react";
import { Navigate, Route, Routes } from "react-router";
import { Layout } from "./components/layout";
import { Heading, Loading } from "./components/page-states";
import { ProjectProvider } from "./components/project-provider";
import { SessionGate } from "./components/session-gate";
import { NoProject, StandaloneLayout } from "./components/standalone-layout";
import { useProjects } from "./hooks/project";

const Certificates = lazy(() => import("./pages/certificates"));
const Certificate = lazy(() => import("./pages/certificate"));
const Requests = lazy(() => import("./pages/requests"));
const Request = lazy(() => import("./pages/request"));
const Approvals = lazy(() => import("./pages/approvals"));
const Approval = lazy(() => import("./pages/approval"));
const Policy = lazy(() => import("./pages/policy"));
const Audit = lazy(() => import("./pages/audit"));
const Members = lazy(() => import("./pages/members"));
const APIKeys = lazy(() => import("./pages/api-keys"));
const Users = lazy(() => import("./pages/users"));
const Plugins = lazy(() => import("./pages/plugins"));
const Account = lazy(() => import("./pages/account"));

export function App() {
  return (
    <SessionGate>
      <Suspense fallback={<Loading />}>
        <Routes>
          <Route path="/" element={<FirstProject />} />
          <Route path="/projects/:pid" element={<ProjectProvider />}>
            <Route element={<Layout />}>
              <Route index element={<Navigate to="certificates" replace />} />
              <Route path="certificates" element={<Certificates />} />
              <Route path="certificates/:cid" element={<Certificate />} />
              <Route path="requests" element={<Requests />} />
              <Route path="requests/:rid" element={<Request />} />
              <Route path="approvals" element={<Approvals />} />
              <Route path="approvals/:aid" element={<Approval />} />
              <Route path="settings/policy" element={<Policy />} />
              <Route path="audit" element={<Audit />} />
              <Route path="members" element={<Members />} />
              <Route path="api-keys" element={<APIKeys />} />
              <Route path="system-keys" element={<APIKeys system />} />
              <Route path="users" element={<Users />} />
              <Route path="plugins" element={<Plugins />} />
              <Route path="account" element={<Account />} />
              <Route path="*" element={<NotFound />} />
            </Route>
          </Route>
          <Route path="*" element={<StandaloneLayout><NotFound /></StandaloneLayout>} />
        </Routes>
      </Suspense>
    </SessionGate>
  );
}

function NotFound() {
  return (
    <>
      <Heading>Page not found</Heading>
      Check the address, or <a href="/">go to your first project</a>.
    </>
  );
}

/** Redirects to the user's first project. */
function FirstProject() {
  const projects = useProjects();
  if (projects.isPending) return <Loading />;
  if (projects.isError) return <NoProject error={projects.error} retry={() => void projects.refetch()} />;
  const first = projects.data[0];
  if (!first)
    return (
      <StandaloneLayout>
        <Heading>You are not a member of any project</Heading>
        Ask an administrator to add you to one.
      </StandaloneLayout>
    );
  return <Navigate to={`/projects/${first.id}/certificates`} replace />;
}
