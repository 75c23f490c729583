// The pages and their addresses.
import { lazy, Suspense } from "react";
import { Navigate, Route, Routes } from "react-router";
import { Layout } from "./components/layout";
import { Alone, NoProject } from "./components/standalone-layout";
import { Heading, Waiting } from "./components/page-states";
import { ProjectProvider, useProjects } from "./hooks/project";
import { SignedIn } from "./components/session";

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
    <SignedIn>
      <Suspense fallback={<Waiting />}>
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
              <Route path="users" element={<Users />} />
              <Route path="plugins" element={<Plugins />} />
              <Route path="account" element={<Account />} />
              <Route path="*" element={<Nowhere />} />
            </Route>
          </Route>
          <Route path="*" element={<Alone><Nowhere /></Alone>} />
        </Routes>
      </Suspense>
    </SignedIn>
  );
}

function Nowhere() {
  return (
    <>
      <Heading>There is no such page</Heading>
      The address may be mistyped, or what it named is gone. <a href="/">Start again</a>.
    </>
  );
}

/** Leads to the person's first project. */
function FirstProject() {
  const projects = useProjects();
  if (projects.isPending) return <Waiting />;
  if (projects.isError) return <NoProject error={projects.error} retry={() => void projects.refetch()} />;
  const first = projects.data[0];
  if (!first)
    return (
      <Alone>
        <Heading>You are in no project yet</Heading>
        Ask an administrator to add you to one.
      </Alone>
    );
  return <Navigate to={`/projects/${first.id}/certificates`} replace />;
}
